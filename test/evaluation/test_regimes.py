# SPDX-License-Identifier: Apache-2.0
"""Who wins where."""

from __future__ import annotations

import dataclasses

import pytest

from edgevlm_ros.evaluation.outcomes import Run
from edgevlm_ros.evaluation.regimes import FEWEST, cells
from edgevlm_ros.evaluation.results import Results
from edgevlm_ros.evaluation.streams import FactValue, Stream
from support.evidence_runs import make_run, make_stream


def with_facts(stream: Stream) -> Stream:
    """A fact that changes with every frame in the first half and stays in the second; another that always stays."""
    half = len(stream.stamps) // 2
    facts = {}
    for place, stamp in enumerate(stream.stamps):
        side = "pass left" if place % 2 and place < half else "pass right"
        facts[stamp] = (FactValue("load", "acid", 1, 0.1, False, True), FactValue("side", side, 1, 0.4, True, True))
    return dataclasses.replace(stream, facts=facts)


STREAMS = [with_facts(make_stream("aisle", scene, 30.0)) for scene in range(3)]


def runs(policy: str, fast: float, slow: float) -> list[Run]:
    """Right with these scores while the fast fact changes and while it stays."""
    half = len(STREAMS[0].stamps) // 2
    scores = (fast,) * half + (slow,) * (len(STREAMS[0].stamps) - half)
    return [dataclasses.replace(make_run(stream, policy, "3"), correct=scores) for stream in STREAMS]


def test_each_bin_has_a_winner_of_its_own() -> None:
    everybody = [*runs("edge_only", 0.5, 0.5), *runs("edgevlm", 0.7, 0.8), *runs("cloud_only", 0.1, 0.9)]
    found = {cell.bin: cell for cell in cells(Results(everybody), STREAMS, "shortest") if cell.truths}
    assert {place: cell.winner for place, cell in found.items()} == {"< 1 s": "edgevlm", "10-30 s": "cloud_only"}
    assert all(cell.transfer_helps for cell in found.values())
    lead = found["10-30 s"].lead
    assert lead is not None
    assert lead.value == pytest.approx(0.4, abs=0.02)


def test_the_longest_lived_part_has_a_map_of_its_own() -> None:
    results = Results([*runs("edge_only", 0.5, 0.5), *runs("edgevlm", 0.7, 0.8)])
    assert [cell.truths for cell in cells(results, STREAMS, "longest")] == [0, 0, 0, 0, 450]


def test_edge_only_wins_among_equals_and_transfer_does_not_help_there() -> None:
    results = Results([*runs("edge_only", 0.5, 0.5), *runs("edgevlm", 0.5, 0.5)])
    assert {(cell.winner, cell.transfer_helps) for cell in cells(results, STREAMS, "shortest") if cell.truths} == {
        ("edge_only", False)
    }


def test_bounds_and_ablations_do_not_win() -> None:
    results = Results(
        [r for policy in ("cloud_oracle", "transfer_limit", "edgevlm_no_focus") for r in runs(policy, 1.0, 1.0)]
        + runs("edge_only", 0.5, 0.5)
    )
    assert {cell.winner for cell in cells(results, STREAMS, "shortest") if cell.truths} == {"edge_only"}


def test_too_few_frames_say_nothing() -> None:
    short = with_facts(make_stream("aisle", 0, 0.2 * (FEWEST - 1)))
    everybody = [make_run(short, policy, "3") for policy in ("edge_only", "edgevlm")]
    assert {cell.winner for cell in cells(Results(everybody), [short], "shortest")} == {None}


def test_without_facts_there_is_no_map() -> None:
    bare = [dataclasses.replace(stream, facts={}) for stream in STREAMS]
    assert cells(Results(runs("edge_only", 0.5, 0.5)), bare, "longest") == []


def test_only_delays_of_so_many_seconds_have_a_place_on_the_map() -> None:
    everybody = [make_run(STREAMS[0], "edge_only", delay) for delay in ("lognormal", "3")]
    assert {cell.delay for cell in cells(Results(everybody), STREAMS, "shortest")} == {"3"}

# SPDX-License-Identifier: Apache-2.0
"""Film strips are found, not chosen."""

from __future__ import annotations

import dataclasses

from edgevlm_ros.evaluation.evidence_strip import draw_strip, find_strips
from edgevlm_ros.evaluation.outcomes import Run, Said
from edgevlm_ros.evaluation.results import Results
from edgevlm_ros.evaluation.streaming import judge
from support.evidence_runs import STEP, make_run, make_stream

STREAM = make_stream("aisle", 0, 30.0)
QUESTION = STREAM.questions[0][1]


def run(policy: str, wrong: range, period: int = 1) -> Run:
    """Right about all frames but those in the range."""
    published = tuple(
        Said(truth.stamp, QUESTION, "gas, gone" if place in wrong else truth.answer, truth.stamp)
        for place, truth in enumerate(STREAM.truths)
        if place % period == 0
    )
    scores = tuple(verdict.exact for verdict in judge(STREAM.truths, published))
    return dataclasses.replace(make_run(STREAM, policy, "3"), published=published, correct=scores)


def test_the_stretch_in_which_a_late_answer_saves_the_day_is_found() -> None:
    runs = [run("edge_only", range(65, 100)), run("edgevlm", range(65, 70)), run("cloud_only", range(150), 10)]
    strips = find_strips(Results(runs), [STREAM])
    assert list(strips) == ["saves"]
    places = [(moment.stamp - STREAM.stamps[0]) // STEP for moment in strips["saves"].moments]
    assert len(places) == 6
    assert 65 <= places[0] < 70
    assert [moment.right("edgevlm") for moment in strips["saves"].moments] == [False, True, True, True, True, True]


def test_the_stretch_in_which_it_misleads_is_found() -> None:
    runs = [run("edge_only", range(0)), run("edgevlm", range(40, 60)), run("cloud_only", range(150), 10)]
    strips = find_strips(Results(runs), [STREAM])
    assert list(strips) == ["misleads"]
    assert sum(not moment.right("edgevlm") for moment in strips["misleads"].moments) >= 5


def test_there_is_none_where_both_say_the_same_or_a_policy_is_missing() -> None:
    runs = [run("edge_only", range(9)), run("edgevlm", range(9)), run("cloud_only", range(9))]
    assert find_strips(Results(runs), [STREAM]) == {}
    assert find_strips(Results(runs[:2]), [STREAM]) == {}


def test_a_strip_does_not_reach_across_a_gap() -> None:
    kept = tuple(truth for place, truth in enumerate(STREAM.truths) if not 63 <= place < 97)
    stream = dataclasses.replace(STREAM, truths=kept)
    short = [run("edge_only", range(60, 100)), run("edgevlm", range(0)), run("cloud_only", range(150), 10)]
    short = [dataclasses.replace(each, correct=tuple(v.exact for v in judge(kept, each.published))) for each in short]
    for strip in find_strips(Results(short), [stream]).values():
        assert strip.moments[-1].stamp - strip.moments[0].stamp <= 4_000_000_000


def test_whatever_was_said_can_be_drawn() -> None:
    runs = [run("edge_only", range(60, 100)), run("edgevlm", range(0)), run("cloud_only", range(150), 10)]
    evil = tuple(dataclasses.replace(said, text="$\\frac{1}$ <|im_start|>\x00\n" * 9) for said in runs[0].published)
    runs[0] = dataclasses.replace(runs[0], published=evil, correct=(0.0,) * len(STREAM.truths))
    (strip,) = find_strips(Results(runs), [STREAM]).values()
    assert draw_strip("saves", strip).startswith(b"\x89PNG")
    assert draw_strip("saves", strip) == draw_strip("saves", strip)

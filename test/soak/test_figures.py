# SPDX-License-Identifier: Apache-2.0
"""What a soak's samples say, on samples whose figures are known by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soak.figures import (
    ROUNDS,
    Mark,
    Reply,
    Sample,
    Samples,
    figures,
    markdown,
    of_rounds,
    spans,
    targets,
    theil_sen,
    warm_rounds,
)
from soak.schedule import CALM, EDGE, PHASE

_ROUND_S, _ROUNDS = 60.0, 12


def made(grows: float = 0.0, threads: float = 0.0) -> Samples:
    """Twelve rounds of a minute, 20 s of each calm. grows: MB a minute of the edge node. threads: more, each round."""
    samples = Samples(ended=_ROUND_S * _ROUNDS, asks=Counter({"edge: answered": 3}))
    for number in range(_ROUNDS):
        began = number * _ROUND_S
        samples.marks += [Mark(began, PHASE, CALM, True), Mark(began + 20.0, PHASE, "cloud", True)]
        samples.marks += [Mark(began + 21.0, "fault", "hangs", True), Mark(began + 31.0, "fault", "hangs", False)]
    for second in range(int(samples.ended)):
        busy = second % 60 >= 20
        memory = round((500.0 + grows * second / 60) * 1e6) + 10_000_000 * (second % 7 == 0)
        held = 20 + 5 * busy + int(threads * (second // 60))
        samples.uses.append(Sample(float(second), EDGE, 7, memory, memory // 2, held, 30, 0.25 * second))
        samples.shared.append((float(second), 1_000_000))
    samples.answers = [0.5 * number for number in range(int(2 * samples.ended))]
    samples.replies = [Reply(3.0 * number, number + 1, "ok") for number in range(int(samples.ended / 3))]
    return samples


def test_a_line_has_its_own_slope_and_no_doubt() -> None:
    assert theil_sen(range(10), [3.0 * x + 1 for x in range(10)]) == pytest.approx((3.0, 3.0, 3.0))


def test_few_points_have_no_slope() -> None:
    assert theil_sen(range(ROUNDS - 1), [0.0] * (ROUNDS - 1)) is None


def test_values_that_are_all_the_same_have_slope_zero() -> None:
    assert theil_sen(range(12), [7.0] * 12) == (0.0, 0.0, 0.0)


@given(st.floats(-10, 10), st.integers(8, 40), st.integers(0, 2**32 - 1))
def test_a_fifth_of_wild_points_does_not_turn_the_line(slope: float, n: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    y = slope * np.arange(n)
    y[chance.choice(n, n // 5, replace=False)] += chance.choice([-1e3, 1e3], n // 5)
    found = theil_sen(range(n), list(y))
    assert found is not None
    assert found[0] == pytest.approx(slope, abs=1e-6 * (1 + abs(slope)))


@given(st.lists(st.floats(-1e3, 1e3), min_size=ROUNDS, max_size=30))
def test_the_interval_holds_the_slope(y: list[float]) -> None:
    found = theil_sen(range(len(y)), y)
    assert found is not None
    assert found[1] <= found[0] <= found[2]


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    chance = np.random.default_rng(3)
    held = 0
    for _ in range(400):
        found = theil_sen(range(15), list(0.3 * np.arange(15) + chance.normal(0, 1, 15)))
        assert found is not None
        held += found[1] <= 0.3 <= found[2]
    assert held >= 0.93 * 400


def test_phases_are_where_they_began_and_belong_to_rounds() -> None:
    found = spans(made().marks, _ROUND_S * _ROUNDS)
    assert [(span.name, span.round, span.begin, span.end) for span in found[:3]] == [
        (CALM, 0, 0.0, 20.0),
        ("cloud", 0, 20.0, 60.0),
        (CALM, 1, 60.0, 80.0),
    ]
    assert found[-1].end == _ROUND_S * _ROUNDS


@pytest.mark.parametrize(("rounds", "left_out"), [(1, 0), (2, 1), (5, 1), (12, 3), (15, 3)])
def test_the_first_fifth_of_the_rounds_is_left_out(rounds: int, left_out: int) -> None:
    assert warm_rounds(rounds) == left_out


def test_one_phase_of_each_round_can_be_looked_at_alone() -> None:
    samples = made()
    phases = spans(samples.marks, samples.ended)
    minutes, calm = of_rounds(phases, samples.uses, "threads", CALM)
    assert calm == [20.0] * 9
    assert minutes[0] == pytest.approx((180.0 + 200.0) / 120)
    assert of_rounds(phases, samples.uses, "threads")[1] == [25.0] * 9


def test_growth_of_memory_is_seen_through_peaks_and_judged() -> None:
    found = figures(made(grows=0.7))
    memory = found["processes"][EDGE]["memory"]
    assert memory["per_min"] == pytest.approx(0.7, abs=0.01)
    assert memory["gained"] == pytest.approx(0.7 * 8, abs=0.1)
    assert memory["max"] == pytest.approx(518.0, abs=1.0)
    assert _verdict(found, "memory") is False
    assert _verdict(figures(made(grows=0.4)), "memory") is True


def test_one_thread_a_round_is_growth() -> None:
    assert _verdict(figures(made(threads=1.0)), "threads") is False
    assert _verdict(figures(made()), "threads") is True


def test_a_run_that_is_too_short_is_judged_by_the_rest() -> None:
    samples = made(grows=50.0)
    samples.marks = samples.marks[:8]
    found = figures(samples)
    assert _verdict(found, "memory") is None
    assert _verdict(found, "tracebacks") is True
    assert [row["met"] for row in targets(found, tracebacks=1) if "tracebacks" in row["what"]] == [False]


def test_rates_are_told_by_phase_after_the_warm_up() -> None:
    phases = figures(made())["phases"]
    assert phases[CALM]["answers_per_s"] == pytest.approx(2.0)
    assert phases["cloud"]["contexts_per_s"] == pytest.approx(1 / 3, abs=0.01)
    assert phases["cloud"]["seconds"] == pytest.approx(9 * 40.0)


def test_a_request_without_a_context_and_one_with_two_are_counted() -> None:
    samples = made()
    samples.replies = [Reply(1.0, 3, "ok"), Reply(2.0, 4, "timeout"), Reply(3.0, 6, "ok"), Reply(3.0, 6, "ok")]
    found = figures(samples)
    assert (found["contexts_lost"], found["contexts_twice"]) == (1, 1)
    assert found["replies"] == {"ok": 3, "timeout": 1}


def test_the_longest_silence_is_of_times_in_which_only_the_cloud_may_fail() -> None:
    samples = made()
    samples.answers = [1.0, 2.0, 5.0, 30.0, 31.0]
    assert figures(samples)["longest_silence_s"] == pytest.approx(3.0)


def test_the_cpu_of_a_process_that_was_started_anew_is_that_of_its_longest_run() -> None:
    samples = made()
    samples.uses += [Sample(float(at), "camera", pid, 1, 1, 1, 1, 0.5 * (at % 100)) for pid, at in _two_runs()]
    camera = figures(samples)["processes"]["camera"]
    assert camera["runs"] == 2
    assert camera["cpu"] == pytest.approx(0.5)


def test_the_tables_say_all_of_it() -> None:
    found = figures(made(grows=0.7))
    asked = {"rate": 3.0, "width": 640, "height": 480, "cloud": "scripted"}
    told = markdown(
        {
            "figures": found,
            "targets": targets(found, 0),
            "asked": asked,
            "machine": {"cpu": "a computer"},
            "logs": {"tracebacks": 0},
        }
    )
    assert "| edge_node: memory, MB a minute | 0.70 | 0.70 to 0.70 | 0.5 | **no** |" in told
    assert "12 x fault hangs" in told
    assert "3 x edge: answered" in told


def _verdict(found: dict[str, Any], what: str) -> bool | None:
    return next(row["met"] for row in targets(found, tracebacks=0) if what in row["what"])


def _two_runs() -> list[tuple[int, int]]:
    return [(8, at) for at in range(100, 140)] + [(9, at) for at in range(200, 290)]

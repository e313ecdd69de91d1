# SPDX-License-Identifier: Apache-2.0
"""The schedule: rounds that are alike, in order, with an end for all that has begun."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soak.schedule import _PLAN, CALM, PHASE, PHASES, VALUES, kinds, schedule


def test_a_round_is_its_phases_and_they_fill_it() -> None:
    assert sum(share for _, share in PHASES) == pytest.approx(1.0)
    assert set(_PLAN) <= {name for name, _ in PHASES}
    phases = [step for step in schedule(100.0, 100.0) if step.kind == PHASE]
    assert [step.value for step in phases] == [name for name, _ in PHASES]
    assert phases[1].at == pytest.approx(20.0)


def test_nothing_happens_in_the_calm() -> None:
    steps = schedule(100.0, 100.0)
    assert [step.kind for step in steps if step.at < 20.0 - 1e-9] == [PHASE]


def test_rounds_have_the_same_kinds_at_the_same_places() -> None:
    steps = schedule(300.0, 100.0)
    rounds = [[(round(step.at % 100.0, 3), step.kind) for step in steps if step.at // 100 == n] for n in range(3)]
    assert rounds[0] == rounds[1] == rounds[2]


def test_what_is_done_goes_on_from_round_to_round() -> None:
    faults = [step.value for step in schedule(800.0, 100.0) if step.kind == "fault" and step.begins]
    assert faults == [*VALUES["fault"], *VALUES["fault"]][:16]


def test_one_round_has_an_event_of_every_kind() -> None:
    assert kinds(schedule(1.0, 100.0)) == list(VALUES)


def test_kinds_can_be_taken_alone() -> None:
    assert kinds(schedule(200.0, 100.0, only=("pause", "ask"))) == ["ask", "pause"]


@given(st.floats(1.0, 1e5), st.floats(5.0, 1e3))
def test_steps_are_in_order_and_end_before_their_kind_begins_again(seconds: float, round_s: float) -> None:
    steps = schedule(min(seconds, 20 * round_s), round_s)
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    lasting = {kind for events in _PLAN.values() for _, lasts, kind in events if lasts}
    open_events: set[str] = set()
    for step in steps:
        if step.kind in lasting:
            assert (step.kind in open_events) is not step.begins
            open_events ^= {step.kind}
    assert not open_events


@given(st.floats(30.0, 1e4), st.floats(10.0, 1e3))
def test_whole_rounds_fill_the_time(seconds: float, round_s: float) -> None:
    steps = schedule(seconds, round_s)
    rounds = sum(step.value == CALM for step in steps)
    assert rounds == max(1, int(seconds / round_s + 1e-9))
    assert steps[-1].at <= max(seconds, round_s) + 1e-6

# SPDX-License-Identifier: Apache-2.0
"""Which frames become keyframes: by the clock alone, or by what the small model says and what the camera shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cloud.selection import Heard, Look, Reason, Rule, Selection
from edgevlm_ros.tracking.glimpse import glimpse

ASKED, OTHER = 1, 2
ADAPTIVE = Rule("adaptive", min_period=1.0, max_period=8.0, min_confidence=0.9, min_similarity=0.5)
SURE, UNSURE = Heard(ASKED, "acid, left", 0.99), Heard(ASKED, "gas, left", 0.7)


def nothing() -> None:
    return None


def painted(red: int) -> Look:
    return lambda: glimpse(0, np.full((48, 64, 3), (red, 60, 60), np.uint8))


def by_period(period: float, max_in_flight: int) -> Selection:
    return Selection(Rule(period=period), max_in_flight)


def sent_times(selection: Selection, frames: Sequence[float], in_flight: int = 0, look: Look = nothing) -> list[float]:
    times = []
    for now in frames:
        if selection.reason(now, ASKED, in_flight, look):
            selection.sent(now, ASKED, look)
            times.append(now)
    return times


def after(*answers: Heard, rule: Rule = ADAPTIVE, now: float = 2.0, in_flight: int = 0) -> Reason | None:
    """The reason for a keyframe `now`, after one at 0 with the answer "acid, left" and then these answers."""
    selection = Selection(rule, 2)
    selection.sent(-1.0, ASKED, nothing)
    selection.heard(SURE)
    selection.sent(0.0, ASKED, nothing)
    for answer in answers:
        selection.heard(answer)
    return selection.reason(now, ASKED, in_flight, nothing)


# -- by period -------------------------------------------------------------------------------------------------------


def test_the_first_frame_is_a_keyframe() -> None:
    for rule in (Rule(), ADAPTIVE):
        assert Selection(rule, 1).reason(123.0, ASKED, 0, nothing) is Reason.QUESTION


def test_keyframes_keep_their_period_whatever_the_frame_rate() -> None:
    assert sent_times(by_period(2.0, 2), [i * 0.2 for i in range(31)]) == [0.0, 2.0, 4.0, 6.0]
    assert sent_times(by_period(2.0, 2), [0.0, 3.0, 6.0]) == [0.0, 3.0, 6.0]


def test_frames_that_come_a_little_late_do_not_stretch_the_period() -> None:
    times = sent_times(by_period(2.0, 2), [i * 0.21 for i in range(1000)])
    assert len(times) == 105


def test_no_frame_is_sent_while_the_flight_is_full_and_the_next_one_is_when_it_is_not() -> None:
    selection = by_period(1.0, 2)
    assert sent_times(selection, [0.0, 5.0], in_flight=2) == []
    assert sent_times(selection, [5.2], in_flight=1) == [5.2]


@pytest.mark.parametrize("rule", [Rule(period=60.0), replace(ADAPTIVE, min_period=60.0, max_period=60.0)])
def test_a_new_question_does_not_wait(rule: Rule) -> None:
    selection = Selection(rule, 1)
    selection.sent(0.0, ASKED, nothing)
    assert selection.reason(1.0, ASKED, 0, nothing) is None
    assert selection.reason(1.0, OTHER, 0, nothing) is Reason.QUESTION
    assert selection.reason(1.0, OTHER, 1, nothing) is None
    assert selection.is_new(OTHER)
    assert not selection.is_new(ASKED)


def test_a_changed_rule_holds_from_the_next_frame_on() -> None:
    selection = by_period(60.0, 1)
    selection.sent(0.0, ASKED, nothing)
    selection.rule = Rule(period=0.5)
    assert selection.reason(0.6, ASKED, 0, nothing) is Reason.PERIOD
    selection.rule = ADAPTIVE
    assert selection.reason(0.6, ASKED, 0, nothing) is None


def test_a_period_hears_and_looks_at_nothing() -> None:
    def look() -> None:
        raise AssertionError("looked")

    selection = by_period(2.0, 2)
    selection.sent(0.0, ASKED, look)
    selection.heard(UNSURE)
    selection.heard(UNSURE)
    assert selection.reason(1.9, ASKED, 0, look) is None
    assert selection.usual_period == 2.0


# -- by signs --------------------------------------------------------------------------------------------------------


def test_without_a_sign_a_keyframe_goes_after_the_longest_period() -> None:
    assert after(SURE, SURE) is None
    assert after(SURE, SURE, now=8.0) is Reason.PERIOD
    assert Selection(ADAPTIVE, 1).usual_period == 8.0


def test_a_doubt_that_lasts_sends_a_keyframe_early_and_one_answer_alone_does_not() -> None:
    assert after(UNSURE, UNSURE) is Reason.UNSURE
    assert after(UNSURE) is after(SURE, UNSURE) is after(UNSURE, SURE) is None
    assert after(UNSURE, UNSURE, rule=replace(ADAPTIVE, min_confidence=0.0)) is None


def test_an_engine_that_knows_no_confidence_is_never_unsure() -> None:
    unknown = replace(UNSURE, confidence=math.nan)
    assert after(unknown, unknown) is None


def test_an_answer_that_has_nothing_in_common_with_the_last_keyframe_s_is_a_change() -> None:
    nobody, free = Heard(ASKED, "Nobody.", 1.0), Heard(ASKED, "way free", 1.0)
    assert after(nobody, nobody) is Reason.CHANGED
    assert after(nobody, free) is None  # not settled
    right = Heard(ASKED, "acid, right", 1.0)
    assert after(right, right) is None  # the same thing on another side
    assert after(Heard(ASKED, "?!", 1.0), Heard(ASKED, "", 1.0)) is None


def test_what_the_small_model_is_told_is_renewed_when_it_is_old_or_suspended() -> None:
    old, suspended = replace(SURE, context_age=12.5), replace(SURE, suspended=True)
    assert after(old, old) is Reason.STALE
    assert after(suspended, suspended) is Reason.STALE
    fresh = replace(SURE, context_age=3.0)
    assert after(fresh, fresh) is None


def test_another_scene_sends_a_keyframe_early() -> None:
    selection = Selection(ADAPTIVE, 2)
    selection.sent(0.0, ASKED, painted(60))
    assert selection.reason(2.0, ASKED, 0, painted(60)) is None
    assert selection.reason(2.1, ASKED, 0, painted(250)) is None  # looked just now
    assert selection.reason(2.3, ASKED, 0, painted(250)) is Reason.SCENE
    selection.sent(2.3, ASKED, painted(250))
    assert selection.reason(4.0, ASKED, 0, painted(250)) is None


def test_a_frame_that_shows_nothing_is_no_other_scene() -> None:
    selection = Selection(ADAPTIVE, 2)
    selection.sent(0.0, ASKED, painted(60))
    assert selection.reason(2.0, ASKED, 0, nothing) is None
    selection.sent(3.0, ASKED, nothing)
    assert selection.reason(5.0, ASKED, 0, painted(250)) is None


def test_signs_wait_for_the_shortest_period_and_a_place_in_flight() -> None:
    assert after(UNSURE, UNSURE, now=0.9) is None
    assert after(UNSURE, UNSURE, in_flight=1) is Reason.UNSURE
    assert after(UNSURE, UNSURE, in_flight=2) is None


def test_answers_to_another_question_are_no_sign() -> None:
    other = replace(UNSURE, question_id=OTHER)
    assert after(other, other) is None


def test_a_small_model_that_fell_silent_in_doubt_does_not_go_on_calling() -> None:
    selection = Selection(ADAPTIVE, 2)
    selection.sent(0.0, ASKED, nothing)
    for _ in range(3):
        selection.heard(UNSURE)
    assert sent_times(selection, [i * 0.5 for i in range(41)]) == [1.0, 9.0, 17.0]


def test_periods_the_wrong_way_round_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"keyframes\.min_period = 11 is longer than keyframes\.max_period = 10"):
        Rule(min_period=11.0)


@given(
    st.lists(
        st.tuples(
            st.floats(0.01, 3.0), st.integers(0, 2), st.sampled_from(["acid", "nobody", ""]), st.floats(0.0, 1.0)
        ),
        max_size=80,
    )
)
def test_whatever_is_said_keyframes_are_never_nearer_than_the_shortest_period_nor_further_than_the_longest(
    steps: list[tuple[float, int, str, float]],
) -> None:
    selection, now, last = Selection(ADAPTIVE, 2), 0.0, None
    for pause, in_flight, text, confidence in steps:
        now += pause
        reason = selection.reason(now, ASKED, in_flight, nothing)
        if in_flight == 2:
            assert reason is None
        elif last is not None:
            assert (reason is None) or now - last >= 1.0
            assert (reason is not None) or now - last < 8.0
        if reason is not None:
            selection.sent(now, ASKED, nothing)
            last = now
        selection.heard(Heard(ASKED, text, confidence))

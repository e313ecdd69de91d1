# SPDX-License-Identifier: Apache-2.0
"""Which frames become keyframes: by the clock alone, or by what the small model says and what the camera shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cloud.selection import Heard, Look, Reason, Rule, Selection, Sent
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


# -- what early keyframes earn ---------------------------------------------------------------------------------------

NOTHING_NEW = (SURE, SURE.text)
FRAMES = [i * 0.25 for i in range(1, 200)]


def asked_of_both(selection: Selection, now: float, reason: Reason, of_it: Heard, reply: str | None) -> None:
    """A keyframe, what the small model says of it, and the large one's reply."""
    sent = selection.sent(now, ASKED, nothing, reason)
    selection.heard(of_it)
    selection.replied(sent, reply)


def wait_for_a_doubt(selection: Selection, now: float) -> tuple[float, Reason]:
    """How long after the keyframe of `now` the next one goes, if the small model doubts from then on."""
    selection.heard(UNSURE)
    selection.heard(UNSURE)
    for pause in FRAMES:
        reason = selection.reason(now + pause, ASKED, 0, nothing)
        if reason is not None:
            return pause, reason
    raise AssertionError("no keyframe goes any more")


def after_calls(*calls: tuple[Reason, Heard, str | None], rule: Rule = ADAPTIVE) -> tuple[float, Reason]:
    """The wait for a doubt after these keyframes, each with what the small and the large model say of it."""
    selection, now = Selection(rule, 2), 0.0
    for reason, of_it, reply in calls:
        now += 10.0
        asked_of_both(selection, now, reason, of_it, reply)
    return wait_for_a_doubt(selection, now)


def test_each_early_keyframe_that_brought_nothing_makes_the_next_wait_twice_as_long() -> None:
    vain = (Reason.CHANGED, *NOTHING_NEW)
    assert after_calls() == (0.25, Reason.QUESTION)
    assert after_calls(vain) == (2.0, Reason.UNSURE)
    assert after_calls(vain, vain) == (4.0, Reason.UNSURE)
    assert after_calls(*[vain] * 9) == (8.0, Reason.PERIOD)


def test_a_reply_that_says_otherwise_ends_the_waiting() -> None:
    vain, fruitful = (Reason.CHANGED, *NOTHING_NEW), (Reason.PERIOD, SURE, "gas, left")
    assert after_calls(vain, vain, fruitful) == (1.0, Reason.UNSURE)
    assert after_calls(vain, fruitful, vain) == (2.0, Reason.UNSURE)


def test_a_keyframe_by_the_clock_or_for_a_question_that_brought_nothing_is_nobody_s_fault() -> None:
    for reason in (Reason.PERIOD, Reason.QUESTION):
        assert after_calls(*[(reason, *NOTHING_NEW)] * 3) == (1.0, Reason.UNSURE)


def test_a_reply_that_never_came_teaches_nothing() -> None:
    lost = (Reason.UNSURE, SURE, None)
    assert after_calls(lost, lost) == (1.0, Reason.UNSURE)
    assert after_calls((Reason.CHANGED, *NOTHING_NEW), lost) == (2.0, Reason.UNSURE)


@pytest.mark.parametrize(("then", "wait"), [(SURE, 1.0), (UNSURE, 2.0)])
def test_a_reply_that_agrees_with_a_doubt_was_worth_it_if_the_doubt_ends(then: Heard, wait: float) -> None:
    selection = Selection(ADAPTIVE, 2)
    asked_of_both(selection, 0.0, Reason.UNSURE, UNSURE, UNSURE.text)
    selection.heard(UNSURE)  # was begun before the reply
    selection.heard(then)
    assert wait_for_a_doubt(selection, 0.0) == (wait, Reason.UNSURE)


def test_what_the_small_model_says_of_the_keyframe_counts_even_if_the_reply_is_there_first() -> None:
    selection = Selection(ADAPTIVE, 2)
    sent = selection.sent(0.0, ASKED, nothing, Reason.CHANGED)
    selection.replied(sent, SURE.text)
    assert selection.reason(0.1, ASKED, 0, nothing) is None
    selection.heard(SURE)
    assert wait_for_a_doubt(selection, 0.0) == (2.0, Reason.UNSURE)


def test_a_new_question_does_not_wait_and_begins_anew() -> None:
    selection = Selection(ADAPTIVE, 2)
    for now in (0.0, 10.0, 20.0):
        asked_of_both(selection, now, Reason.CHANGED, *NOTHING_NEW)
    late = selection.sent(30.0, ASKED, nothing, Reason.CHANGED)
    selection.heard(SURE)
    assert selection.reason(30.1, OTHER, 0, nothing) is Reason.QUESTION
    selection.sent(30.1, OTHER, nothing, Reason.QUESTION)
    selection.replied(late, SURE.text)  # about the question before
    selection.heard(replace(UNSURE, question_id=OTHER))
    selection.heard(replace(UNSURE, question_id=OTHER))
    assert selection.reason(31.1, OTHER, 0, nothing) is Reason.UNSURE


def test_another_scene_does_not_wait_and_begins_anew() -> None:
    selection = Selection(ADAPTIVE, 2)
    sent = selection.sent(0.0, ASKED, painted(60), Reason.CHANGED)
    selection.heard(SURE)
    selection.replied(sent, SURE.text)
    selection.heard(UNSURE)
    selection.heard(UNSURE)
    assert selection.reason(1.5, ASKED, 0, painted(60)) is None
    assert selection.reason(1.75, ASKED, 0, painted(250)) is Reason.SCENE
    selection.sent(1.75, ASKED, painted(250), Reason.SCENE)
    assert wait_for_a_doubt(selection, 1.75) == (1.0, Reason.UNSURE)


def test_replies_may_come_from_another_thread() -> None:
    selection = Selection(ADAPTIVE, 2)
    sent = selection.sent(0.0, ASKED, nothing, Reason.CHANGED)
    selection.heard(SURE)
    thread = Thread(target=selection.replied, args=(sent, SURE.text))
    thread.start()
    thread.join()
    assert wait_for_a_doubt(selection, 0.0) == (2.0, Reason.UNSURE)


def test_where_nobody_answers_what_is_under_way_is_forgotten() -> None:
    selection = Selection(ADAPTIVE, 2)
    assert len(sent_times(selection, [float(second) for second in range(0, 8000, 8)])) == 1000
    assert len(selection._unjudged) < 10


@given(
    st.lists(
        st.tuples(
            st.floats(0.01, 3.0),
            st.integers(0, 2),
            st.sampled_from(["acid", "nobody", ""]),
            st.floats(0.0, 1.0),
            st.sampled_from(["acid", "nobody", "", None]),
            st.booleans(),
        ),
        max_size=80,
    )
)
def test_whatever_is_said_keyframes_are_never_nearer_than_the_shortest_period_nor_further_than_the_longest(
    steps: list[tuple[float, int, str, float, str | None, bool]],
) -> None:
    selection, now, last = Selection(ADAPTIVE, 2), 0.0, None
    under_way: list[Sent] = []
    for pause, in_flight, text, confidence, reply, newest in steps:
        now += pause
        reason = selection.reason(now, ASKED, in_flight, nothing)
        if in_flight == 2:
            assert reason is None
        elif last is not None:
            assert (reason is None) or now - last >= 1.0
            assert (reason is not None) or now - last < 8.0
            assert selection.reason(now, OTHER, in_flight, nothing) is Reason.QUESTION
        if reason is not None:
            under_way.append(selection.sent(now, ASKED, nothing, reason))
            last = now
        selection.heard(Heard(ASKED, text, confidence))
        if under_way and text:
            selection.replied(under_way.pop(-1 if newest else 0), reply)


@given(
    st.lists(
        st.tuples(st.sampled_from(Reason), st.sampled_from(["acid", "gas"]), st.sampled_from(["acid", "gas", None])),
        max_size=30,
    )
)
def test_after_a_reply_that_brought_something_a_doubt_waits_the_shortest_period_only(
    calls: list[tuple[Reason, str, str | None]],
) -> None:
    before = [(reason, replace(SURE, text=text), reply) for reason, text, reply in calls]
    assert after_calls(*before, (Reason.CHANGED, SURE, "nobody")) == (1.0, Reason.UNSURE)

# SPDX-License-Identifier: Apache-2.0
"""Virtual time: which frame is taken, what goes up, and when it comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cloud.budget import Limits
from edgevlm_ros.cloud.selection import Heard, Reason, Rule
from edgevlm_ros.evaluation.latency import Dead, Fixed, TraceLatency
from edgevlm_ros.evaluation.robot import Bridge
from edgevlm_ros.evaluation.streams import open_stream
from edgevlm_ros.evaluation.timeline import Budget, Call, Camera, Taken, Timeline, in_order
from edgevlm_ros.evaluation.traces import Sample, Trace
from edgevlm_ros.transfer.types import Question
from support.small_bag import SmallBag, at_5_hz, stamp, whole
from support.small_scene import constant

SECOND = 10**9


def timeline(path: Path, seconds: float = 8.0, period: float = 2.0, **bridge: object) -> Timeline:
    settings = Bridge(Rule(period=period), **bridge)  # type: ignore[arg-type]
    return Timeline(open_stream(whole(path, at_5_hz(seconds))), settings, constant())


def times(calls: list[Call]) -> list[float]:
    return [round((call.stamp - stamp(0)) / 1e9, 3) for call in calls]


def test_one_who_is_free_waits_for_the_next_frame_and_one_who_is_late_takes_the_newest() -> None:
    camera = Camera([0, 10, 20, 30, 40])
    assert camera.take(0) == Taken(0, 0)
    assert camera.take(3) == Taken(10, 10)
    assert camera.take(35) == Taken(30, 35, missed=(20,))
    assert camera.take(36) == Taken(40, 40)
    assert camera.take(41) is None


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_every_frame_is_taken_or_missed_once_and_none_before_it_comes(busy: list[int]) -> None:
    stamps = list(range(0, 300, 10))
    camera, free, seen = Camera(stamps), 0, []
    for cost in busy:
        taken = camera.take(free)
        if taken is None:
            break
        assert taken.start >= max(taken.stamp, free)
        seen += [*taken.missed, taken.stamp]
        free = taken.start + cost
    assert seen == stamps[: len(seen)]


def test_keyframes_leave_each_period_and_come_back_after_the_delay(tmp_path: Path) -> None:
    calls = timeline(tmp_path / "bag", period=2.0).keyframes(Fixed(1.0))
    assert times(calls) == [0, 2, 4, 6]
    assert all(call.arrival == call.stamp + SECOND for call in calls)


def test_no_more_keyframes_are_under_way_than_the_bridge_allows(tmp_path: Path) -> None:
    calls = timeline(tmp_path / "bag", period=1.0, max_in_flight=2).keyframes(Fixed(3.0))
    assert times(calls) == [0, 1, 3, 4, 6, 7]


def test_a_new_question_is_asked_at_once(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        for time in at_5_hz(6):
            if time in (0.0, 3.0):
                bag.question(time, f"What at {time}?")
            bag.jpeg(time)
    line = Timeline(open_stream(tmp_path / "bag"), Bridge(Rule(period=2.0)), constant())
    calls = line.keyframes(Fixed(0.5))
    assert times(calls) == [0, 2, 3, 5]
    assert [call.question for call in calls[1:3]] == [Question("What at 0.0?"), Question("What at 3.0?")]


def test_the_bridge_s_limits_make_keyframes_rarer_and_spare_a_tenth_for_questions(tmp_path: Path) -> None:
    calls = timeline(tmp_path / "calls", 40.0, period=1.0, limits=Limits(calls_per_minute=12.0)).keyframes(Fixed(0.5))
    assert times(calls) == [0, 5.6, 11.2, 16.8, 22.4, 28.0, 33.6, 39.2]
    free = timeline(tmp_path / "free", 40.0, period=1.0)
    half = Limits(bytes_per_minute=30.0 * free.keyframe_bytes)
    calls = timeline(tmp_path / "bytes", 40.0, period=1.0, limits=half).keyframes(Fixed(0.5))
    assert 17 <= len(calls) <= 20 < len(free.keyframes(Fixed(0.5)))


def test_policies_with_a_budget_of_their_own_have_what_the_limits_leave(tmp_path: Path) -> None:
    free = timeline(tmp_path / "free", period=1.0)
    by_calls = timeline(tmp_path / "calls", period=1.0, limits=Limits(calls_per_minute=15.0))
    by_bytes = timeline(tmp_path / "bytes", period=1.0, limits=Limits(15.0, 60.0 * 7.0))
    assert by_calls.byte_rate == pytest.approx(free.byte_rate / 4)
    assert by_bytes.byte_rate == 7.0


def test_what_is_lost_or_later_than_the_time_out_never_arrives_and_holds_its_place_until_then(tmp_path: Path) -> None:
    for link in (Dead(), Fixed(3.5)):
        calls = timeline(tmp_path / type(link).__name__, period=1.0, max_in_flight=1, timeout=3.0).keyframes(link)
        assert times(calls) == [0, 3, 6]
        assert all(call.arrival is None and call.over == call.sent + 3 * SECOND for call in calls)


def test_a_slow_trace_answers_a_bridge_that_waits_for_it_and_no_other(tmp_path: Path) -> None:
    slow = TraceLatency(Trace("slow", (Sample(0.0, 24_000.0, 1e6, 0.0),), 7.0))  # answers take 24 s
    patient = timeline(tmp_path / "patient", period=1.0, timeout=30.0)
    assert [call.arrival is None for call in patient.keyframes(slow)] == [False] * len(patient.keyframes(slow))
    assert all(call.arrival is None for call in timeline(tmp_path / "usual", period=1.0).keyframes(slow))


def test_a_policy_that_uploads_twice_as_much_calls_half_as_often(tmp_path: Path) -> None:
    line = timeline(tmp_path / "bag", seconds=40.0, period=1.0, max_in_flight=99)

    def twice(number: int, stamp: int, question: Question) -> Call:
        return line.call(Fixed(0.1), number, stamp, question, stamp, round(2 * line.keyframe_bytes), 0)

    calls = line.scheduled(twice, line.budget())
    assert 18 <= len(calls) <= 22
    assert len(line.keyframes(Fixed(0.1))) == 40


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 500)), min_size=1, max_size=60))
def test_a_budget_lets_no_more_through_than_its_rate_and_one_call(steps: list[tuple[int, int]]) -> None:
    budget, now, sent, largest = Budget(rate=100.0, most=100.0), 0, 0, 0
    for pause, size in steps:
        now += pause * SECOND
        if budget.open(now):
            budget.spend(now, size)
            sent, largest = sent + size, max(largest, size)
    assert sent <= 100 + 100 * now / SECOND + largest


def test_a_bridge_that_hears_doubts_sends_early_and_one_that_hears_nothing_late(tmp_path: Path) -> None:
    line = timeline(tmp_path / "bag", seconds=8.0)
    rule = Rule("adaptive", min_period=1.0, max_period=4.0, min_similarity=0.0)
    told, untold = (line.sending(line.images(Fixed(0.5)), rule=rule) for _ in range(2))
    question = line.question(stamp(0))
    assert question is not None
    for time in at_5_hz(8.0):
        new = told.until(stamp(time))
        assert all(call.stamp == stamp(time) for call in new)
        told.hear(stamp(time) + SECOND // 20, Heard(question.id, "gas", 0.5 if 2.0 <= time < 3.0 else 1.0))
    untold.until(line.stream.stamps[-1])
    assert times(told.calls) == [0, 2.4, 6.4]  # the second doubt is published before the frame of 2.4
    assert told.reasons == {Reason.QUESTION: 1, Reason.UNSURE: 1, Reason.PERIOD: 1}
    assert times(untold.calls) == [0, 4]


def test_a_bridge_that_hears_that_replies_agree_calls_less_for_the_same_doubts(tmp_path: Path) -> None:
    line = timeline(tmp_path / "bag", seconds=12.0)
    rule = Rule("adaptive", min_period=1.0, max_period=10.0, min_similarity=0.0)
    question = line.question(stamp(0))
    assert question is not None

    def calls(reply: str | None) -> list[float]:
        sending = line.sending(line.images(Fixed(0.5)), rule=rule, read=lambda call: reply)
        for time in at_5_hz(12.0):
            sending.until(stamp(time))
            since = time - times(sending.calls)[-1]
            sending.hear(stamp(time) + SECOND // 20, Heard(question.id, "gas", 0.5 if since > 0.3 else 1.0))
        return times(sending.calls)

    assert calls("acid") == calls(None) == [float(second) for second in range(12)]
    assert calls("gas") == [0, 1, 3, 7]


def test_an_older_frame_s_reply_that_comes_later_is_not_shown() -> None:
    question = Question("Where?")

    def call(number: int, arrival: int | None) -> Call:
        return Call(number, number, question, number, arrival, 99, 1)

    assert [c.number for c in in_order([call(1, 50), call(2, 40), call(3, None), call(4, 60)])] == [2, 4]


def test_costs_are_drawn_by_seed_scene_and_frame(tmp_path: Path) -> None:
    line = timeline(tmp_path / "bag")
    assert line.cost("edge", stamp(0)) == 20_000_000

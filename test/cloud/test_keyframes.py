# SPDX-License-Identifier: Apache-2.0
from edgevlm_ros.cloud.keyframes import KeyframeSchedule

ASKED, OTHER = 1, 2


def sent_times(schedule: KeyframeSchedule, frames: list[float], in_flight: int = 0) -> list[float]:
    times = []
    for now in frames:
        if schedule.due(now, ASKED, in_flight):
            schedule.sent(now, ASKED)
            times.append(now)
    return times


def test_the_first_frame_is_a_keyframe() -> None:
    assert KeyframeSchedule(period=2.0, max_in_flight=1).due(123.0, ASKED, 0)


def test_keyframes_keep_their_period_whatever_the_frame_rate() -> None:
    assert sent_times(KeyframeSchedule(2.0, 2), [i * 0.2 for i in range(31)]) == [0.0, 2.0, 4.0, 6.0]
    assert sent_times(KeyframeSchedule(2.0, 2), [0.0, 3.0, 6.0]) == [0.0, 3.0, 6.0]


def test_frames_that_come_a_little_late_do_not_stretch_the_period() -> None:
    times = sent_times(KeyframeSchedule(2.0, 2), [i * 0.21 for i in range(1000)])
    assert len(times) == 105


def test_no_frame_is_sent_while_the_flight_is_full_and_the_next_one_is_when_it_is_not() -> None:
    schedule = KeyframeSchedule(period=1.0, max_in_flight=2)
    assert sent_times(schedule, [0.0, 5.0], in_flight=2) == []
    assert sent_times(schedule, [5.2], in_flight=1) == [5.2]


def test_a_new_question_does_not_wait_for_the_period() -> None:
    schedule = KeyframeSchedule(period=60.0, max_in_flight=1)
    schedule.sent(0.0, ASKED)
    assert not schedule.due(1.0, ASKED, 0)
    assert schedule.due(1.0, OTHER, 0)
    assert not schedule.due(1.0, OTHER, 1)
    assert schedule.is_new(OTHER)
    assert not schedule.is_new(ASKED)


def test_a_changed_period_holds_from_the_next_frame_on() -> None:
    schedule = KeyframeSchedule(period=60.0, max_in_flight=1)
    schedule.sent(0.0, ASKED)
    schedule.period = 0.5
    assert schedule.due(0.6, ASKED, 0)

# SPDX-License-Identifier: Apache-2.0
"""The stream's clock, told from ticks and wall times."""

from __future__ import annotations

from edgevlm_ros.evaluation.stream_clock import StreamClock

WALL = 1_700_000_000 * 10**9
MS = 10**6


def ticking(rate: float, ticks: int = 50) -> StreamClock:
    clock = StreamClock()
    for tick in range(ticks):
        clock.tick(round(tick * 20 * MS * rate), WALL + tick * 20 * MS)
    return clock


def test_before_the_first_tick_nothing_is_known() -> None:
    assert StreamClock().at(WALL) is None


def test_a_message_heard_late_was_sent_at_its_own_time() -> None:
    assert ticking(1.0).at(WALL + 700 * MS) == 700 * MS


def test_a_message_that_overtook_the_ticks_is_ahead_of_them() -> None:
    assert ticking(1.0).at(WALL + 1300 * MS) == 1300 * MS


def test_the_rate_of_playing_is_found() -> None:
    assert abs((ticking(2.5).at(WALL + 1080 * MS) or 0) - 2700 * MS) <= MS


def test_one_tick_is_enough_to_begin_with() -> None:
    assert ticking(2.5, ticks=1).at(WALL + 30 * MS) == 30 * MS


def test_a_loop_begins_anew() -> None:
    clock = ticking(1.0)
    clock.tick(5 * MS, WALL + 1000 * MS)
    assert clock.at(WALL + 1007 * MS) == 12 * MS


def test_what_was_latched_before_the_clock_began_happens_when_it_begins() -> None:
    clock = ticking(1.0)
    assert clock.at(WALL - 5000 * MS) == 0

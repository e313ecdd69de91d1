# SPDX-License-Identifier: Apache-2.0
"""What the times and stamps of images tell, on made-up times."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.nodes.arrivals import WINDOW_S, Arrival, Arrivals, jitter, missing, rate, typical_age


def images(*times: float, age: float = 0.1) -> Arrivals:
    arrivals = Arrivals()
    for time in times:
        arrivals.add(Arrival(time, round((time - age) * 1e9), round(time * 1e9)))
    return arrivals


@given(st.floats(0.5, 120.0), st.floats(0.0, 0.99))
def test_the_rate_of_a_regular_camera_is_exact_until_its_next_image_is_late(hertz: float, share: float) -> None:
    period = 1 / hertz
    times = [100 + number * period for number in range(int(6 * hertz) + 2)]
    now = times[-1] + share * period
    assert rate(images(*times).newest(now), now) == pytest.approx(hertz, rel=1e-6)


def test_the_rate_of_a_camera_that_stopped_falls() -> None:
    arrivals = images(*(100 + number / 30 for number in range(300)))
    rates = [rate(arrivals.newest(now), now) for now in (110.5, 112.0, 114.0, 120.0, 200.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.05


def test_there_is_no_rate_before_the_second_image() -> None:
    assert rate((), 1.0) == 0.0
    assert rate(images(1.0).newest(2.0), 2.0) == 0.0


def test_only_the_last_seconds_count_but_a_slow_camera_has_a_rate_too() -> None:
    assert [a.time for a in images(1.0, 2.0, 9.0, 10.0).newest(10.0)] == [9.0, 10.0]
    slow = images(0.0, 10.0, 20.0)
    assert rate(slow.newest(21.0), 21.0) == pytest.approx(0.1)
    assert len(images(*(number / 1000 for number in range(int(2 * WINDOW_S * 1000)))).newest(2 * WINDOW_S)) <= 1000


def test_jitter_is_the_spread_of_the_gaps() -> None:
    assert jitter(images(0.0, 1.0, 2.0, 3.0).newest(3.0)) == pytest.approx(0.0)
    assert jitter(images(0.0, 0.9, 2.0, 2.9, 4.0).newest(4.0)) == pytest.approx(0.1)
    assert math.isnan(jitter(images(0.0, 1.0).newest(1.0)))


def test_one_image_around_a_jump_in_time_does_not_change_the_typical_age() -> None:
    arrivals = images(1.0, 2.0, 3.0, age=0.25)
    arrivals.add(Arrival(4.0, 0, 4_000_000_000))
    assert typical_age(arrivals.newest(4.0)) == pytest.approx(0.25)
    assert math.isnan(typical_age(()))


def stamped(*stamps: float) -> tuple[Arrival, ...]:
    return tuple(Arrival(stamp, round(stamp * 1e9), 0) for stamp in stamps)


@pytest.mark.parametrize("lost", [(), (2,), (1, 2, 5, 6, 7, 11), (*range(1, 30, 3), *range(2, 30, 3)), range(1, 30, 2)])
def test_the_stamps_of_a_regular_camera_tell_how_many_images_are_missing(lost: Sequence[int]) -> None:
    noise = np.random.default_rng(3).normal(0.0, 0.002, 30)  # seconds
    came = stamped(*(number / 15 + noise[number] for number in range(30) if number not in lost))
    # where every second one is lost, that is the camera's rate
    expected = 0 if lost in (range(1, 30, 2), (*range(1, 30, 3), *range(2, 30, 3))) else len(lost)
    assert missing(came) == expected


def test_images_are_missing_where_no_two_that_follow_each_other_came() -> None:
    assert missing(stamped(*np.cumsum([2, 3, 2, 2, 3, 2, 3, 3, 2, 2]) / 15)) == 13


def test_an_irregular_camera_misses_nothing() -> None:
    gaps = np.random.default_rng(4).uniform(0.05, 0.4, 40)
    assert missing(stamped(*np.cumsum(gaps))) == 0


def test_what_the_middleware_lost_is_forgotten_after_some_seconds() -> None:
    arrivals = Arrivals()
    arrivals.add_lost(1.0, 3)
    arrivals.add_lost(4.0, 2)
    assert [arrivals.lost(now) for now in (4.0, 4.0 + WINDOW_S - 0.1, 20.0)] == [5, 2, 0]

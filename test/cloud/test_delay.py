# SPDX-License-Identifier: Apache-2.0
import statistics

import pytest

from edgevlm_ros.cloud.delay import EmulatedDelay


def test_by_default_nothing_is_delayed_or_lost() -> None:
    delay = EmulatedDelay()
    assert [delay.seconds_for(n) for n in range(5)] == [0.0] * 5
    assert not any(delay.is_out(t * 0.5) for t in range(100))


def test_no_delay_is_no_delay_whatever_the_other_settings() -> None:
    delay = EmulatedDelay(kind="none", seconds=3.0, outage_period=10.0, outage=5.0)
    assert delay.seconds_for(1) == 0.0
    assert not delay.is_out(9.0)


def test_a_fixed_delay_is_the_same_for_every_request() -> None:
    assert {EmulatedDelay(kind="fixed", seconds=3.0).seconds_for(n) for n in range(9)} == {3.0}


def test_lognormal_delays_depend_on_the_seed_and_the_request_alone() -> None:
    one, same, other = (EmulatedDelay(kind="lognormal", seconds=2.0, seed=seed) for seed in (7, 7, 8))
    assert [one.seconds_for(n) for n in (3, 1, 2)] == [same.seconds_for(n) for n in (3, 1, 2)]
    assert one.seconds_for(1) != other.seconds_for(1)


def test_the_median_of_lognormal_delays_is_the_one_asked_for() -> None:
    delays = [EmulatedDelay(kind="lognormal", seconds=2.0, sigma=0.5).seconds_for(n) for n in range(2000)]
    assert min(delays) > 0.0
    assert statistics.median(delays) == pytest.approx(2.0, rel=0.06)
    assert statistics.quantiles(delays, n=100)[83] == pytest.approx(2.0 * 2.718281828**0.5, rel=0.1)


def test_outages_come_at_the_end_of_each_period() -> None:
    delay = EmulatedDelay(kind="fixed", seconds=1.0, outage_period=20.0, outage=4.0)
    assert [delay.is_out(t) for t in (0.0, 15.9, 16.0, 19.9, 20.0, 36.5)] == [False, False, True, True, False, True]

# SPDX-License-Identifier: Apache-2.0
"""When the cloud's answer comes: the same for everybody who asks at the same time."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.evaluation.latency import (
    Dead,
    Fixed,
    Latency,
    LatencyError,
    LogNormal,
    TraceLatency,
    latency,
)
from edgevlm_ros.evaluation.traces import Sample, Trace

NAMES = ["0", "3", "lognormal", "dead", "trace:4g_drive", "trace:5g_edge", "trace:wifi_roaming", "trace:tunnel"]


def steady(rtt_ms: float = 100.0, up_kbps: float = 8000.0, loss: float = 0.0) -> Latency:
    """A trace in which nothing changes; 8000 kbps are a megabyte a second."""
    return TraceLatency(Trace("steady", (Sample(0.0, rtt_ms, up_kbps, loss),), 7.0))


def halves(first: float, second: float) -> Trace:
    """Two seconds at one rate in kbps, two at another, without delay."""
    return Trace("halves", (Sample(0.0, 0.0, first, 0.0), Sample(2.0, 0.0, second, 0.0)), 4.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_and_time_give_the_same_answer_in_any_order_and_any_process(name: str, seed: int) -> None:
    times = [0.2 * index for index in range(100)]
    model, other = latency(name, seed), pickle.loads(pickle.dumps(latency(name, seed)))
    forward = [model.arrival(time, 12_000, 300, 0.5) for time in times]
    backward = [other.arrival(time, 12_000, 300, 0.5) for time in reversed(times)]
    assert forward == backward[::-1]


@pytest.mark.parametrize("name", ["lognormal", "trace:4g_drive"])
def test_another_seed_is_another_network(name: str) -> None:
    def arrivals(seed: int) -> list[float | None]:
        return [latency(name, seed).arrival(2.0 * index, 12_000, 300, 0.5) for index in range(20)]

    assert arrivals(0) != arrivals(1)


@given(st.sampled_from(NAMES), st.integers(0, 99), st.floats(0, 500), st.integers(0, 10**7), st.floats(0, 5))
def test_no_answer_comes_before_it_was_asked_for(
    name: str, seed: int, sent: float, bytes_up: int, compute: float
) -> None:
    arrival = latency(name, seed).arrival(sent, bytes_up, 300, compute)
    assert arrival is None or arrival >= sent
    if arrival is not None and name.startswith("trace:"):
        assert compute <= arrival - sent + 1e-6


def test_a_fixed_delay_has_everything_in_it() -> None:
    assert Fixed(3.0).arrival(1.5, 10**9, 10**9, 100.0) == 4.5


def test_a_dead_cloud_never_answers() -> None:
    assert Dead().arrival(0.0, 1, 1, 0.0) is None


def test_half_of_the_log_normal_delays_are_below_the_median() -> None:
    model = LogNormal(median=2.5, sigma=0.6, outage=0.0, seed=3)
    delays = [arrival - sent for sent in map(float, range(2000)) if (arrival := model.arrival(sent, 1, 1, 0.0))]
    assert len(delays) == 2000
    assert 0.45 < sum(delay < 2.5 for delay in delays) / 2000 < 0.55
    logs = [math.log(delay / 2.5) for delay in delays]
    assert math.sqrt(sum(value * value for value in logs) / len(logs)) == pytest.approx(0.6, rel=0.1)


def test_nothing_leaves_or_arrives_in_an_outage() -> None:
    model = LogNormal(median=2.5, sigma=0.6, outage_every=45.0, outage=6.0)
    for tenth in range(900):
        arrival = model.arrival(tenth / 10, 1, 1, 0.0)
        assert arrival is None or (tenth / 10 % 45.0 < 39.0 and arrival % 45.0 < 39.0)


def test_who_asks_within_half_a_second_waits_as_long() -> None:
    model = LogNormal(outage=0.0)
    first, second = model.arrival(4.0, 1, 1, 0.0), model.arrival(4.25, 9, 9, 9.0)
    assert first is not None
    assert second is not None
    assert second - first == pytest.approx(0.25)


def test_a_steady_trace_charges_bytes_round_trip_and_computing() -> None:
    assert steady().arrival(5.0, 500_000, 100_000, 0.7) == pytest.approx(5.0 + 0.5 + 0.1 + 0.1 + 0.7)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 100))
def test_more_bytes_never_arrive_earlier(size: int, more: int, sent: float) -> None:
    model = steady()
    first, second = model.arrival(sent, size, 0, 0.0), model.arrival(sent, size + more, 0, 0.0)
    assert first is not None
    assert second is not None
    assert second >= first - 1e-9


@given(st.floats(0, 40), st.integers(1, 10**6))
def test_bytes_take_the_rates_that_hold_while_they_are_sent(sent: float, size: int) -> None:
    model = TraceLatency(halves(800.0, 8000.0), seed=5)
    done = model._sent(sent, size)
    assert done is not None
    step = 1e-3
    moved, time = 0.0, sent + model._offset
    while time < done + model._offset:
        moved += (100_000 if time % 4.0 < 2.0 else 1_000_000) * min(step, done + model._offset - time)
        time += step
    assert moved == pytest.approx(size, abs=2_000)


def test_what_meets_a_link_without_a_rate_waits_for_its_return() -> None:
    model = TraceLatency(halves(0.0, 8000.0), seed=1)
    for tenth in range(80):
        sent = tenth / 10
        place = (sent + model._offset) % 4.0
        arrival = model.arrival(sent, 100, 0, 0.0)
        assert arrival is not None
        assert arrival - sent == pytest.approx(max(0.0, 2.0 - place), abs=0.001)


@pytest.mark.parametrize("trace", [halves(0.0, 0.0), halves(1e-300, 0.0)])
def test_a_link_that_never_carries_anything_is_no_endless_search(trace: Trace) -> None:
    assert TraceLatency(trace).arrival(1.0, 1000, 10, 0.0) is None


def test_what_is_sent_while_everything_is_lost_is_lost() -> None:
    assert steady(loss=1.0).arrival(0.0, 10, 10, 0.0) is None


def test_lost_packets_cost_time() -> None:
    def mean(loss: float, size: int) -> float:
        model = TraceLatency(Trace("steady", (Sample(0.0, 100.0, 1e6, loss),), 7.0))
        found = [model.arrival(float(second), size, 0, 0.0) for second in range(300)]
        return sum(arrival - sent for sent, arrival in enumerate(found) if arrival is not None) / len(found)

    assert mean(0.0, 1_500) < mean(0.02, 1_500) < mean(0.02, 60_000) < mean(0.2, 60_000)
    # a packet each way, sent 1 / (1 - loss) times on average, costs 0.2 s each time but the first
    assert mean(0.2, 1_500) - mean(0.0, 1_500) == pytest.approx(2 * 0.25 * 0.2, rel=0.2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("soon", "expected seconds such as 3, lognormal, dead, trace:4g_drive"),
        ("-1", "is -1: expected a number of seconds, 0 or more"),
        ("nan", "is nan"),
        ("inf", "is inf"),
        ("trace:nowhere.csv", "delay 'trace:nowhere.csv': trace nowhere.csv: cannot be read"),
    ],
)
def test_a_delay_that_cannot_be_is_refused(name: str, said: str) -> None:
    with pytest.raises(LatencyError, match=said):
        latency(name)


def test_a_log_normal_delay_that_cannot_be_is_refused() -> None:
    with pytest.raises(LatencyError, match="sigma of a log-normal delay is -1"):
        LogNormal(sigma=-1.0)

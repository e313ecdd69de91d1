# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cloud.breaker import Breaker


def broken(failures: int = 3, **options) -> Breaker:
    """A breaker that has just opened, at time 0."""
    breaker = Breaker(failures, **options)
    for _ in range(failures):
        breaker.ended(0.0, False, probe=breaker.sent(0.0))
    return breaker


def fail(breaker: Breaker, now: float, **options) -> None:
    """A request that leaves and fails at once."""
    breaker.ended(now, False, probe=breaker.sent(now), **options)


def unshortened() -> float:
    return 0.0


def test_it_opens_after_so_many_failures_in_a_row_and_no_fewer() -> None:
    breaker = Breaker(3)
    for well in (False, False, True, False, False):
        breaker.ended(0.0, well)
        assert breaker.refuses(0.0) == ""
    breaker.ended(0.0, False)
    assert breaker.refuses(0.0).startswith("3 failures in a row, the next probe is in ")


def test_after_the_pause_one_probe_may_go_and_no_other_beside_it() -> None:
    breaker = broken(first=2.0, draw=unshortened)
    assert breaker.refuses(1.99)
    assert breaker.refuses(2.0) == ""
    breaker.sent(2.0)
    assert breaker.refuses(100.0) == "3 failures in a row, a probe is on its way"


def test_a_probe_that_is_answered_opens_the_way() -> None:
    breaker = broken(first=2.0)
    breaker.ended(2.5, True, probe=breaker.sent(2.0))
    assert breaker.refuses(2.5) == ""
    assert breaker.sent(2.5) is None
    fail(breaker, 2.6)
    assert breaker.refuses(2.6) == ""


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    breaker, probes, now = broken(first=1.0, longest=10.0, draw=unshortened), [0.0], 0.0
    while len(probes) < 8:
        now += 0.01
        if not breaker.refuses(now):
            probes.append(now)
            fail(breaker, now)
    pauses = [round(after - before, 1) for before, after in pairwise(probes)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_a_probe_that_takes_long_to_fail_has_used_up_its_pause() -> None:
    breaker = broken(first=1.0, draw=unshortened)
    breaker.ended(6.0, False, probe=breaker.sent(1.0))
    assert breaker.refuses(6.0) == ""


def test_robots_that_failed_together_do_not_come_back_together() -> None:
    pauses = []
    for number in (0.0, 0.5, 0.999):
        breaker = broken(first=4.0, draw=lambda number=number: number)
        pauses.append(next(now / 10 for now in range(100) if not breaker.refuses(now / 10)))
    assert pauses == [4.0, 3.5, 3.1]


def test_a_probe_that_never_went_to_the_server_tells_nothing_and_the_next_frame_is_one() -> None:
    breaker = broken(first=1.0)
    breaker.ended(1.0, None, probe=breaker.sent(1.0))
    assert breaker.refuses(1.0) == ""


def test_late_failures_of_before_do_not_lengthen_the_pause() -> None:
    breaker = broken(first=1.0, draw=unshortened)
    for _ in range(5):
        breaker.ended(0.5, False)
    assert breaker.refuses(0.99)
    assert breaker.refuses(1.0) == ""


def test_a_server_that_asks_for_a_pause_gets_it_at_once_and_then_one_probe() -> None:
    breaker = Breaker(3)
    fail(breaker, 0.0, retry_after=30.0)
    assert breaker.refuses(1.0) == "the server asked for a pause, 29.0 s are left"
    breaker.ended(1.0, True)  # of a request that had left before
    assert breaker.refuses(29.9)
    assert breaker.refuses(30.0) == ""
    fail(breaker, 30.0, retry_after=5.0)
    assert breaker.refuses(34.9)
    assert breaker.refuses(35.0) == ""
    breaker.sent(35.0)
    assert breaker.refuses(35.0)


def test_a_pause_of_a_century_is_one_of_a_quarter_of_an_hour() -> None:
    breaker = Breaker(3)
    fail(breaker, 0.0, retry_after=3e9)
    assert breaker.refuses(899.0)
    assert breaker.refuses(900.0) == ""


@given(
    events=st.lists(
        st.tuples(
            st.sampled_from([True, False, False, None]),
            st.floats(0.0, 5.0),  # until the next frame
            st.floats(0.0, 3.0),  # until the reply
            st.sampled_from([0.0, 0.0, 0.0, 7.0]),
        ),
        max_size=60,
    ),
    draw=st.floats(0.0, 0.999),
)
def test_whatever_happens_one_probe_at_a_time_leaves_and_the_way_opens_within_the_longest_pause(
    events: list[tuple[bool | None, float, float, float]], draw: float
) -> None:
    breaker, now = Breaker(2, first=1.0, longest=8.0, draw=lambda: draw), 0.0
    under_way: list[tuple[float, bool | None, float | None, float]] = []
    probes: list[float] = []  # that are under way and may still decide

    def come_back(until: float) -> None:
        for flight in sorted(under_way, key=lambda flight: flight[0]):
            if flight[0] <= until:
                under_way.remove(flight)
                back, well, probe, asked = flight
                breaker.ended(back, well, probe=probe, retry_after=asked if well is False else 0.0)
                probes[:] = [] if well else [other for other in probes if other != probe]

    for well, wait, delay, asked in events:
        now += wait
        come_back(now)
        if not breaker.refuses(now):
            probe = breaker.sent(now)
            probes += [] if probe is None else [probe]
            assert len(probes) <= 1
            under_way.append((now + delay, well, probe, asked))
    come_back(now + 3.0)
    later = now + 3.0 + 8.0
    assert breaker.refuses(later) == ""
    breaker.ended(later, True, probe=breaker.sent(later))
    assert breaker.refuses(later) == ""

# SPDX-License-Identifier: Apache-2.0
"""A thread that gets nowhere is noticed, one that is slow is let alone."""

from __future__ import annotations

import threading

import pytest

from edgevlm_ros.nodes.watchdog import Pulse, Watchdog, patience, whereabouts


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_step_may_take_the_declared_time_or_ten_times_what_the_last_ones_took() -> None:
    assert patience(30.0, 0.5) == 30.0
    assert patience(30.0, 20.0) == 200.0


def test_a_pulse_counts_from_the_last_token_and_only_within_a_step() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    assert pulse.still() == 0.0
    with pulse.step():
        clock.now = 3.0
        assert pulse.still() == 3.0
        pulse.beat()
        clock.now = 4.0
        assert pulse.still() == 1.0
    clock.now = 100.0
    assert pulse.still() == 0.0
    assert pulse.took == 3.0
    for _ in range(30):
        with pulse.step():
            clock.now += 1.0
    assert pulse.took == 1.0, "what was long ago is forgotten"


def test_a_step_that_fails_is_over_too() -> None:
    pulse = Pulse()
    with pytest.raises(RuntimeError), pulse.step():
        raise RuntimeError
    assert pulse.still() == 0.0


def test_a_thread_that_hangs_is_told_once_with_where_it_stands() -> None:
    pulse, end, told = Pulse(), threading.Event(), threading.Event()
    barks: list[tuple[float, str]] = []

    def bark(still: float, where: str) -> None:
        barks.append((still, where))
        told.set()

    def stuck_in_a_driver() -> None:
        with pulse.step():
            end.wait()

    thread = threading.Thread(target=stuck_in_a_driver)
    thread.start()
    watchdog = Watchdog(pulse, 0.05, bark)
    assert told.wait(60.0)
    end.set()
    thread.join()
    watchdog.close()
    ((still, where),) = barks
    assert still > 0.05
    assert "stuck_in_a_driver" in where


def test_nothing_is_told_of_a_thread_that_gets_on() -> None:
    clock, barks = Clock(), []
    pulse = Pulse(clock)
    watchdog = Watchdog(pulse, 0.01, lambda *told: barks.append(told))
    with pulse.step():
        for _ in range(20):
            threading.Event().wait(0.005)
            pulse.beat()
    watchdog.close()
    watchdog.close()
    assert barks == []


def test_a_thread_that_is_no_more_is_nowhere() -> None:
    assert whereabouts(None) == "nowhere"
    assert whereabouts(-1) == "nowhere"

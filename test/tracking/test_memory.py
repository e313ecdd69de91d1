# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.tracking.glimpse import Glimpse, glimpse
from edgevlm_ros.tracking.memory import Memory

SECOND = 1_000_000_000
BLANK = glimpse(0, np.zeros((8, 8, 3), np.uint8))


def at(seconds: float) -> Glimpse:
    return replace(BLANK, stamp=round(seconds * SECOND))


def remembering(*seconds: float, horizon: float = 10.0) -> Memory:
    memory = Memory(horizon)
    for second in seconds:
        memory.add(at(second))
    return memory


def test_the_nearest_frame_is_found_if_it_is_near_enough() -> None:
    memory = remembering(1.0, 2.0, 3.0)
    found = memory.at(round(2.1 * SECOND))
    assert found is not None
    assert found.stamp == 2 * SECOND
    assert memory.at(round(2.5 * SECOND)) is None
    assert memory.at(round(2.5 * SECOND), tolerance_s=0.5) is not None
    assert Memory(1.0).at(0) is None


def test_the_way_from_a_keyframe_to_now_comes_in_order() -> None:
    memory = remembering(3.0, 1.0, 2.0)
    assert [seen.stamp // SECOND for seen in memory.since(SECOND)] == [2, 3]
    assert memory.newest is not None
    assert memory.newest.stamp == 3 * SECOND


def test_what_is_older_than_the_horizon_is_forgotten() -> None:
    memory = remembering(0.0, 1.0, 11.0)
    assert [seen.stamp // SECOND for seen in memory.since(-1)] == [1, 11]
    memory.horizon_s = 2.0
    memory.add(at(12.0))
    assert [seen.stamp // SECOND for seen in memory.since(-1)] == [11, 12]


def test_a_cleared_memory_is_empty() -> None:
    memory = remembering(1.0)
    memory.clear()
    assert memory.since(0) == ()
    assert memory.newest is None


@given(st.lists(st.integers(0, 100 * SECOND), max_size=200), st.sampled_from([0.0, 0.5, 10.0]))
def test_frames_in_any_order_are_held_once_in_order_and_within_the_horizon(stamps: list[int], horizon: float) -> None:
    memory = Memory(horizon)
    for stamp in stamps:
        memory.add(replace(BLANK, stamp=stamp))
    held = [seen.stamp for seen in memory.since(-1)]
    assert held == sorted(set(held))
    assert not stamps or held[-1] - held[0] <= horizon * SECOND


def test_frames_at_any_rate_are_never_more_than_600() -> None:
    memory = remembering(*(i / 1000 for i in range(12_000)))
    held = memory.since(-1)
    assert 500 < len(held) <= 600
    assert held[-1].stamp - held[0].stamp > 9.9 * SECOND


def test_threads_may_add_and_look_at_once() -> None:
    memory = Memory(1.0)
    writers = [
        threading.Thread(target=lambda first=first: [memory.add(at(i / 100)) for i in range(first, 1000, 4)])
        for first in range(4)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        stamps = [seen.stamp for seen in memory.since(0)]
        assert stamps == sorted(stamps)
        memory.at(5 * SECOND)
    for writer in writers:
        writer.join()
    assert memory.newest is not None
    assert memory.newest.stamp >= round(9.9 * SECOND)

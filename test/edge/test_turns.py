# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import pytest

from edgevlm_ros.edge.turns import Turns

LONG = 60.0


def background(turns: Turns, slices: int, log: list[str]) -> threading.Thread:
    def work() -> None:
        for _ in range(slices):
            with turns.slice():
                log.append("slice")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def wait_for_a_slice(turns: Turns) -> None:
    """Until a slice stands in the queue."""
    with turns._condition:
        while not turns._waiting_slices:
            turns._condition.wait(0.01)


def test_between_two_frames_that_follow_at_once_a_slice_comes_in() -> None:
    turns, log = Turns(), []
    with turns.frame():
        thread = background(turns, 1, log)
        wait_for_a_slice(turns)
    with turns.frame():
        log.append("frame")
    thread.join(LONG)
    assert log == ["slice", "frame"]


def test_a_frame_waits_for_one_slice_at_most() -> None:
    turns, log = Turns(), []

    def a_frame() -> None:
        with turns.frame():
            log.append("frame")

    frame = threading.Thread(target=a_frame, daemon=True)
    with turns.slice():
        thread = background(turns, 1, log)
        wait_for_a_slice(turns)
        frame.start()
        with turns._condition:
            while not turns._waiting_frames:
                turns._condition.wait(0.01)
    thread.join(LONG)
    frame.join(LONG)
    assert log == ["frame", "slice"]


def test_within_a_frame_no_slice_comes_in() -> None:
    turns, log = Turns(), []
    with turns.frame(ends=False):
        thread = background(turns, 1, log)
        wait_for_a_slice(turns)
    with turns.frame():
        assert log == []
    thread.join(LONG)
    assert log == ["slice"]


def test_a_frame_that_fails_between_its_steps_blocks_nobody() -> None:
    turns, log = Turns(), []
    with pytest.raises(RuntimeError), turns.frame(ends=False):
        raise RuntimeError("no such image")
    background(turns, 2, log).join(LONG)
    assert log == ["slice", "slice"]
    with turns.frame():
        pass


def test_slices_run_freely_while_there_are_no_frames() -> None:
    turns, log = Turns(), []
    background(turns, 5, log).join(LONG)
    assert log == ["slice"] * 5

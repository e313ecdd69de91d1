# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from edgevlm_ros.transfer.epoch import Epoch

SECOND = 1_000_000_000


def stream(*seconds: float) -> Epoch:
    """A stream whose frames came in time with their number."""
    epoch = Epoch()
    for now, second in enumerate(seconds):
        epoch.frame(round(second * SECOND), float(now))
    return epoch


def test_a_jump_back_begins_a_run_and_jitter_does_not() -> None:
    epoch = stream(5.0)
    assert not epoch.frame(5 * SECOND - SECOND // 2, 1.0)
    assert not epoch.frame(6 * SECOND, 2.0)
    assert epoch.frame(1 * SECOND, 3.0)
    assert not epoch.frame(2 * SECOND, 4.0)


def test_replies_about_frames_that_this_run_has_not_seen_are_of_another() -> None:
    epoch = stream(9.0, 1.0)
    assert not epoch.holds(9 * SECOND, sent=1.0)
    assert epoch.holds(1 * SECOND, sent=1.0)


def test_a_reply_whose_keyframe_was_sent_before_the_run_began_is_of_another() -> None:
    epoch = stream(2.0, 9.0, 1.0, 2.0, 3.0)
    assert not epoch.holds(2 * SECOND, sent=0.1)
    assert epoch.holds(2 * SECOND, sent=3.1)


def test_before_the_first_frame_every_reply_may_be_about_this_run() -> None:
    assert Epoch().holds(7 * SECOND, sent=0.0)


def test_a_clock_that_is_set_back_begins_a_run_without_a_frame() -> None:
    epoch = stream(5.0)
    epoch.begin(10.0)
    assert not epoch.holds(5 * SECOND, sent=5.0)
    assert not epoch.frame(4 * SECOND + SECOND // 2, 11.0)
    assert epoch.holds(4 * SECOND + SECOND // 2, sent=11.0)

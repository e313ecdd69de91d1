# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a bag does not end its reading, and is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgevlm_ros.assets import bag_path
from edgevlm_ros.evaluation.streams import StreamError, open_stream
from support.small_bag import NEVER, SmallBag, at_5_hz, stamp


def test_stamps_that_go_backwards_are_skipped_and_named(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        bag.question(0)
        for index, time in enumerate([0.0, 0.2, 0.4, 0.2, 0.4, 0.6, 0.8]):
            bag.jpeg(time, recorded=index / 5)
    stream = open_stream(tmp_path / "bag")
    assert stream.stamps == tuple(map(stamp, [0.0, 0.2, 0.4, 0.6, 0.8]))
    assert stream.problems == ("frame skipped, its stamp is not after the one before: 2 times (at 0.2 s, at 0.4 s)",)


def test_a_clock_that_jumps_back_for_good_is_refused(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        bag.question(0)
        for index in range(20):
            bag.jpeg(index / 5 if index > 3 else 1000 + index / 5, recorded=index / 5)
    with pytest.raises(StreamError, match=r"only 4 frames can be used .*16 times.*clock right"):
        open_stream(tmp_path / "bag")


def test_empty_stamps_are_replaced_by_the_time_of_recording(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        bag.question(0)
        for time in (0.0, 0.2, 0.4):
            bag.raw(NEVER, recorded=time)
    stream = open_stream(tmp_path / "bag")
    assert stream.stamps == tuple(map(stamp, (0.0, 0.2, 0.4)))
    assert stream.frame(stamp(0.2)).stamp == stamp(0.2)


def test_topics_of_unknown_types_are_named(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        bag.question(0)
        bag.riddle(0)
        bag.jpeg(0)
        bag.jpeg(0.2)
    assert open_stream(tmp_path / "bag").problems == (
        "topic of a type that is not known here, not looked at: once (/riddle: riddle_msgs/msg/Riddle)",
    )


def test_damaged_messages_are_skipped(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        bag.question(0)
        for time in at_5_hz(2):
            bag.jpeg(time, data=b"\xff\xd8 cut off" if time == 1 else None)
        bag.damaged(1.1, "/image/compressed", "sensor_msgs/msg/CompressedImage")
        bag.damaged(1.1, "/question", "edgevlm_msgs/msg/Question")
    stream = open_stream(tmp_path / "bag")
    assert stamp(1.0) not in stream.stamps
    assert len(stream.stamps) == 9
    (images, question) = stream.problems
    assert images.startswith("message on /image/compressed skipped, it is damaged: 2 times (1.0 s: the JPEG is trunc")
    assert question.startswith("message on /question skipped, it is damaged: once (1.1 s: bag ")


def test_a_bag_with_a_hole_is_used_up_to_there(tmp_path: Path) -> None:
    shutil.copytree(bag_path("demo"), tmp_path / "bag")
    (file,) = (tmp_path / "bag").glob("*.mcap")
    data = bytearray(file.read_bytes())
    middle = int(len(data) * 0.7)
    data[middle : middle + 65536] = bytes(65536)
    file.write_bytes(data)
    stream = open_stream(tmp_path / "bag")
    assert 100 < len(stream.stamps) < 300
    (hole,) = stream.problems
    assert hole.startswith("the rest of the bag is left out: once (bag ")
    assert "damaged after" in hole

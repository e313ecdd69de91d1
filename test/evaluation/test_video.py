# SPDX-License-Identifier: Apache-2.0
"""The overlay video: real frames at their own times, and never in the graph's way."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import av
import numpy as np

from edgevlm_ros.evaluation.video import VideoWriter, frames

START = 1_700_000_000_123_456_789


def gray(level: int, height: int = 49, width: int = 65) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def write(path: Path, pictures: list[tuple[int, np.ndarray]]) -> VideoWriter:
    writer = VideoWriter(path)
    for picture in pictures:
        writer.put(lambda picture=picture: picture)
        time.sleep(0.02)
    writer.close()
    return writer


def test_each_picture_is_found_again_by_its_stamp(tmp_path: Path) -> None:
    stamps = [START, START + 200_000_000, START + 900_000_000]
    writer = write(tmp_path / "a.mp4", [(stamp, gray(60 * place)) for place, stamp in enumerate(stamps)])
    assert writer.error is None
    found = dict(frames(tmp_path / "a.mp4", {stamps[0], stamps[2]}))
    assert list(found) == [stamps[0], stamps[2]]
    assert found[stamps[2]].shape == (48, 64, 3)
    assert abs(int(found[stamps[2]].mean()) - 120) < 6


def test_the_file_is_h264_that_browsers_play(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [(START, gray(0)), (START + 10**9, gray(9))])
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")


def test_pictures_from_the_past_or_of_another_size_are_left_out(tmp_path: Path) -> None:
    pictures = [
        (START, gray(0)),
        (START - 10**9, gray(50)),
        (START + 10**9, gray(50, 20, 20)),
        (START + 2 * 10**9, gray(90)),
    ]
    writer = write(tmp_path / "a.mp4", pictures)
    assert writer.error is None
    assert [stamp for stamp, _ in frames(tmp_path / "a.mp4", [stamp for stamp, _ in pictures])] == [
        START,
        START + 2 * 10**9,
    ]


def test_what_is_no_picture_is_left_out_and_counted(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4")
    writer.put(lambda: (START, gray(0)))
    writer.put(lambda: (_ for _ in ()).throw(ValueError("no image")))
    writer.put(lambda: (START + 10**9, gray(9)))
    writer.close()
    assert (writer.dropped, writer.error) == (1, None)
    assert len(list(frames(tmp_path / "a.mp4", [START, START + 10**9]))) == 2


def test_a_place_that_cannot_be_written_is_told_and_raises_nothing(tmp_path: Path) -> None:
    writer = write(tmp_path / "nowhere" / "a.mp4", [(START, gray(0)), (START + 10**9, gray(9))])
    assert writer.error is not None
    assert "No such file" in writer.error


def test_what_comes_too_fast_is_dropped_and_counted(tmp_path: Path) -> None:
    writer, begun, may_end = VideoWriter(tmp_path / "a.mp4"), threading.Event(), threading.Event()

    def slow() -> tuple[int, np.ndarray]:
        begun.set()
        assert may_end.wait(60)
        return START, gray(0)

    writer.put(slow)
    assert begun.wait(60)
    for _ in range(10):
        writer.put(slow)  # returns at once, or this would never end
    assert writer.dropped == 10 - 4, "four may wait"
    may_end.set()
    writer.close()


def test_nothing_written_leaves_no_file(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "a.mp4").close()
    assert not list(tmp_path.iterdir())

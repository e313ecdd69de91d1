# SPDX-License-Identifier: Apache-2.0
"""Videos and folders of images become bags."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edgevlm_ros import cli, images, sources
from edgevlm_ros.bags import BagReader
from edgevlm_ros.sources import Kind, SourceError, source_kind


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Two seconds at 20 Hz whose brightness tells the frame."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = 800, 400, "yuv420p"
        for index in range(40):
            picture = np.full((400, 800, 3), 40 + 4 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures 1, 2 and 10, as gray as their numbers, a damaged one and a text."""
    path = tmp_path / "pictures"
    path.mkdir()
    for number in (10, 1, 2):
        cv2.imwrite(str(path / f"shot{number}.png"), np.full((30, 40, 3), number * 10, np.uint8))
    (path / "shot3.jpg").write_bytes(b"no picture")
    (path / "shot4.jpg").write_bytes(b"")
    (path / "notes.txt").write_text("hello")
    return path


def frames(bag: Path) -> list[tuple[float, np.ndarray]]:
    with BagReader(bag) as reader:
        records = reader.records(topics=["/image/compressed"])
        return [((r.stamp - reader.start) / 1e9, images.to_rgb(reader.deserialize(r))) for r in records]


def test_video_is_thinned_and_narrowed(video: Path, tmp_path: Path) -> None:
    assert sources.convert(video, tmp_path / "bag", rate=5, width=640) == 10
    pictures = frames(tmp_path / "bag")
    assert [seconds for seconds, _ in pictures] == pytest.approx([i / 5 for i in range(10)])
    assert {rgb.shape for _, rgb in pictures} == {(320, 640, 3)}
    assert [rgb.mean() for _, rgb in pictures] == pytest.approx([40 + 16 * i for i in range(10)], abs=6)


def test_video_is_never_padded_with_frames_it_lacks(video: Path, tmp_path: Path) -> None:
    assert sources.convert(video, tmp_path / "bag", rate=100, width=2000) == 40
    assert frames(tmp_path / "bag")[0][1].shape == (400, 800, 3)


def test_truncated_video_gives_what_it_has(tmp_path: Path) -> None:
    whole = tmp_path / "whole.ts"
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(50):
            picture = noise.integers(0, 255, (240, 320, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 2 <= sources.convert(cut, tmp_path / "bag", rate=5) < 10


def test_images_follow_the_numbers_in_their_names(folder: Path, tmp_path: Path) -> None:
    assert sources.convert(folder, tmp_path / "bag", rate=2) == 3
    pictures = frames(tmp_path / "bag")
    assert [seconds for seconds, _ in pictures] == pytest.approx([0, 0.5, 1])
    assert [rgb.mean() for _, rgb in pictures] == pytest.approx([10, 20, 100], abs=2)


def test_question_stands_before_the_first_frame(folder: Path, tmp_path: Path) -> None:
    sources.convert(folder, tmp_path / "bag", question="What is there?")
    with BagReader(tmp_path / "bag") as reader:
        topics = [record.topic for record in reader.records()]
        (question,) = reader.records(topics=["/question"])
        assert reader.deserialize(question).text == "What is there?"
        assert reader.topics["/question"].latched
    assert topics[0] == "/question"


def test_kinds_are_told_apart(video: Path, folder: Path, tmp_path: Path) -> None:
    sources.convert(folder, tmp_path / "bag")
    assert source_kind(video) is Kind.VIDEO
    assert source_kind(folder) is Kind.IMAGES
    assert source_kind(tmp_path / "bag") is Kind.BAG
    assert source_kind(next((tmp_path / "bag").glob("*.mcap"))) is Kind.BAG


def test_what_is_no_source_says_so(tmp_path: Path, folder: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, says in [
        (tmp_path / "gone", "no such"),
        (empty, "neither a rosbag2"),
        (folder / "notes.txt", "neither a bag nor a video"),
    ]:
        with pytest.raises(SourceError, match=says):
            source_kind(path)


def test_folder_of_damaged_images_makes_no_bag(folder: Path, tmp_path: Path) -> None:
    for file in folder.glob("*.png"):
        file.unlink()
    with pytest.raises(SourceError, match="not one frame"):
        sources.convert(folder, tmp_path / "bag")
    assert not (tmp_path / "bag").exists()


def test_command_line_converts_and_shows(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bag", "convert", str(folder), str(tmp_path / "bag"), "--question", "What?"]) == 0
    assert cli.main(["bag", "info", str(tmp_path / "bag")]) == 0
    assert "/image/compressed       3" in capsys.readouterr().out
    assert cli.main(["bag", "info", str(tmp_path / "gone")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much"])
def test_senseless_rate_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["bag", "convert", "a", "b", f"--rate={value}"])
    assert f"'{value}' is not a number above 0" in capsys.readouterr().err

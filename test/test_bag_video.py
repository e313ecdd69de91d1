# SPDX-License-Identifier: Apache-2.0
"""Video in a bag is a camera like another, from its first keyframe on."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from edgevlm_ros.bags import BagReader, Record
from edgevlm_ros.evaluation import stream_images
from edgevlm_ros.evaluation.recording import nanoseconds
from edgevlm_ros.evaluation.streams import open_stream
from edgevlm_ros.images import to_rgb
from support.video_bag import COMPRESSED, FFMPEG, FOXGLOVE, GRAY, PERIOD, TOPICS, message, packets, stamp, video_bag

CAMERAS = {FFMPEG: "/camera/image_raw/compressed", FOXGLOVE: "/camera/video/compressed", COMPRESSED: TOPICS[COMPRESSED]}


def frames(bag: Path, topic: str = CAMERAS[FFMPEG]) -> list[int]:
    """The numbers of the frames, by their gray and by their stamp."""
    with BagReader(bag) as reader:
        return [number(reader, record) for record in reader.records(topics=[topic])]


def number(reader: BagReader, record: Record) -> int:
    image = reader.deserialize(record)
    assert (record.type, image.format, image.header.frame_id) == (COMPRESSED, "jpeg", "camera")
    shown = round((nanoseconds(image.header.stamp) - stamp(0)) / PERIOD)
    assert abs(float(to_rgb(image).mean()) - shown * GRAY) < GRAY / 2
    return shown


@pytest.mark.parametrize("kind", CAMERAS)
@pytest.mark.parametrize("format", ["h264", "libx264;yuv420p;bgr8;bgr8"])
def test_packets_become_images_in_their_places(tmp_path: Path, kind: str, format: str) -> None:
    bag = video_bag(tmp_path / "bag", packets(), kind, format)
    with BagReader(bag) as reader:
        camera = reader.image_topic()
        assert (camera.name, camera.type, camera.count) == (CAMERAS[kind], COMPRESSED, 20)
        records = list(reader.records())
        assert [record.topic for record in records] == [camera.name, "/said"] * 20
        assert [record.stamp for record in records] == sorted(record.stamp for record in records)
        assert [number(reader, record) for record in records[::2]] == list(range(20))
        assert reader.dropped == {}


@pytest.mark.parametrize(
    ("encoder", "format"),
    [("libx265", "hevc_nvenc"), ("libvpx-vp9", "vp9"), ("libvpx", "VP8"), ("libsvtav1", "av1"), ("mpeg4", "mpeg4")],
)
def test_other_codecs_are_decoded_too(tmp_path: Path, encoder: str, format: str) -> None:
    if encoder not in av.codecs_available:
        pytest.skip(f"PyAV has no {encoder} here")
    bag = video_bag(tmp_path / "bag", packets(codec=encoder), format=format)
    assert frames(bag) == list(range(20))


def test_frames_that_are_sent_ahead_come_when_they_are_shown(tmp_path: Path) -> None:
    coded = packets(tune="film", bf="2", b_adapt="0")
    order = [shown for shown, _ in coded]
    assert order != sorted(order), "there is none"
    assert frames(video_bag(tmp_path / "bag", coded)) == list(range(20))


def test_before_the_first_keyframe_there_is_nothing_and_it_is_counted(tmp_path: Path) -> None:
    bag = video_bag(tmp_path / "bag", packets()[2:])
    assert frames(bag) == list(range(5, 20))
    with BagReader(bag) as reader:
        assert len(list(reader.records())) == 18 + 15
        assert reader.dropped == {CAMERAS[FFMPEG]: "3 (no keyframe before it)"}


@pytest.mark.parametrize("damage", [b"", b"\xff" * 40])
def test_after_a_damaged_packet_the_next_keyframe_is_waited_for(tmp_path: Path, damage: bytes) -> None:
    coded = packets()
    coded[12] = 12, damage and coded[12][1][:6] + damage
    shown = frames(video_bag(tmp_path / "bag", coded))
    assert shown[:12] == list(range(12))
    assert shown[-5:] == list(range(15, 20))
    assert 12 not in shown


@pytest.mark.parametrize("first", [True, False])
def test_a_message_that_is_none_is_a_damaged_packet(tmp_path: Path, first: bool) -> None:
    from edgevlm_ros.bag_writer import BagWriter

    coded, kind = packets(), COMPRESSED
    with BagWriter(tmp_path / "bag") as writer:
        for at, (shown, data) in enumerate(coded):
            writer.write_message(TOPICS[kind], message(kind, shown, data, "h264"), stamp(at))
        writer.write(TOPICS[kind], kind, stamp(0) - 1 if first else stamp(20), b"\0\1\0")
    with BagReader(tmp_path / "bag") as reader:
        records = list(reader.records())
        assert [number(reader, record) for record in records[first:]] == list(range(20))


def test_a_codec_that_nobody_knows_is_named(tmp_path: Path) -> None:
    bag = video_bag(tmp_path / "bag", packets(), format="daala")
    assert frames(bag) == []
    with BagReader(bag) as reader:
        assert len(list(reader.records())) == 20
        assert "20 (no decoder: daala" in reader.dropped[CAMERAS[FFMPEG]]


@pytest.mark.parametrize("options", [{}, {"tune": "film", "bf": "2", "b_adapt": "0"}], ids=["plain", "reordered"])
@pytest.mark.parametrize("keyframes", [5, 60])
def test_any_time_can_be_asked_for(tmp_path: Path, options: dict[str, str], keyframes: int) -> None:
    coded = packets(28, keyframes, **options)
    bag = video_bag(tmp_path / "bag", coded)
    with BagReader(bag) as reader:
        for at in range(28):
            found = list(reader.records([CAMERAS[FFMPEG]], start=stamp(at), stop=stamp(at) + 1))
            assert [number(reader, record) for record in found] == [coded[at][0]]
        assert reader.dropped == {}


def test_an_evaluation_has_its_frames_and_counts_what_showed_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_images, "HELD_BYTES", 3000)  # the others are read again
    stream = open_stream(video_bag(tmp_path / "bag", packets()[3:]), question="What is it?")
    assert stream.stamps == tuple(stamp(shown) for shown in range(5, 20))
    assert [round(float(stream.frame(at).image.mean()) / GRAY) for at in stream.stamps] == list(range(5, 20))
    (problem,) = stream.problems
    assert "2 (no keyframe before it)" in problem


def test_topics_that_share_a_name_stay_apart(tmp_path: Path) -> None:
    from edgevlm_ros.bag_metadata import shown_as

    names = {"/camera/ffmpeg", "/camera/compressed"}
    assert shown_as("/camera/ffmpeg", FFMPEG, names) == ("/camera/ffmpeg/compressed", COMPRESSED)
    assert shown_as("/camera/compressed", COMPRESSED, names) == ("/camera/compressed", COMPRESSED)

# SPDX-License-Identifier: Apache-2.0
"""What a bag has, by its metadata.yaml or a lone file's summary: its camera, and the topics to play beside our nodes.

A launch file asks in ROS's own Python, where the library that reads bags need not be installed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from edgevlm_ros.bag_summary import SUFFIXES, topics_of_file

COMPRESSED = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = ("sensor_msgs/msg/Image", COMPRESSED)
VIDEO_TYPES = ("ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "foxglove_msgs/msg/CompressedVideo")
_CODECS = (
    ("264|avc", "h264"),
    ("265|hevc", "hevc"),
    ("av1", "av1"),
    ("vp9", "vp9"),
    ("vp8", "vp8"),
    ("mpeg4", "mpeg4"),
)
_QUESTION = "edgevlm_msgs/msg/Question"
_OURS = ("Answer", "CloudContext", "Focus", "Metrics")
_MADE_ANEW = ("diagnostic_msgs/msg/DiagnosticArray", *(f"edgevlm_msgs/msg/{name}" for name in _OURS))

Topic = tuple[str, str, int]
"""Name, type and number of messages."""


class MetadataError(Exception):
    """A bag that does not tell its topics; the message says what to do."""


def likeliest_camera(topics: Iterable[Topic]) -> str:
    """Of topics with images the likeliest camera's: colour, then JPEG, then many."""
    return min(topics, key=lambda t: ("depth" in t[0].lower(), t[1] != COMPRESSED, -t[2], t[0]))[0]


def video_codec(format: str) -> str:
    """FFmpeg's name of the codec that a message's format or encoding tells ('h264', 'hevc_nvenc', 'libx264;yuv420p');
    empty if it is none of a video's."""
    name = format.partition(";")[0].lower()
    return next((codec for pattern, codec in _CODECS if re.search(pattern, name)), "")


def shown_as(name: str, kind: str, names: Collection[str]) -> tuple[str, str]:
    """Name and type under which a topic of a bag is played and evaluated: a video's frames become JPEGs. names: all."""
    if kind not in VIDEO_TYPES:
        return name, kind
    shown = f"{name.removesuffix('/ffmpeg')}/compressed"
    return shown if shown not in names else f"{name}/compressed", COMPRESSED


def camera_of(bag: Path) -> str:
    """The image topic of a rosbag2 folder, with /compressed if its images are. Raises MetadataError."""
    topics = topics_of(bag)
    images = [topic for topic in topics if topic[1] in IMAGE_TYPES and topic[2]]
    if not images:
        there = ", ".join(f"{name} ({kind}, {count})" for name, kind, count in topics) or "no topics at all"
        raise MetadataError(f"bag {bag}: no images; it has {there}")
    return likeliest_camera(images)


def playable(topics: Iterable[Topic], asked: bool) -> list[str]:
    """The topics that do not speak for our nodes: what those of the recording said would be taken for what these say.

    asked: whether a question stands already, so that the recording's own would replace it.
    """
    silent = (*_MADE_ANEW, _QUESTION) if asked else _MADE_ANEW
    return [name for name, kind, _ in topics if kind not in silent]


def topics_of(bag: Path) -> list[Topic]:
    """The topics of a rosbag2 folder, or of a lone .mcap or .db3 file. Raises MetadataError."""
    lone = bag.suffix in SUFFIXES and bag.is_file()
    try:
        told = topics_of_file(bag) if lone else _topics_of_folder(bag)
        topics = [_topic(name, kind, count) for name, kind, encoding, count in told if encoding == "cdr"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
        if lone:
            raise MetadataError(f"bag {bag}: its topics cannot be read: {error}") from error
        raise MetadataError(
            f"bag {bag}: it has no metadata.yaml that can be read ({error}); give a rosbag2 folder "
            "(ros2 bag reindex writes one's metadata.yaml), or an .mcap or .db3 file"
        ) from error
    names = {name for name, _, _ in topics}
    return [(*shown_as(name, kind, names), count) for name, kind, count in topics]


def _topics_of_folder(bag: Path) -> Iterator[tuple[Any, Any, Any, Any]]:
    for topic in read_metadata(bag)["topics_with_message_count"]:
        told = topic["topic_metadata"]
        yield told["name"], told["type"], told.get("serialization_format", "cdr"), topic["message_count"]


def read_metadata(bag: Path) -> Any:
    """What the metadata.yaml of a rosbag2 folder tells, unchecked. Raises what reading and parsing it raise."""
    return yaml.load((bag / "metadata.yaml").read_text(encoding="utf-8"), _Loader)["rosbag2_bagfile_information"]


def _topic(name: Any, kind: Any, count: Any) -> Topic:
    for what, value, meant in (("name", name, str), ("type", kind, str), ("number of messages", count, int)):
        if not isinstance(value, meant):
            raise TypeError(f"a topic's {what} is a {type(value).__name__}")
    return name, kind, count


class _Loader(yaml.SafeLoader):
    """Takes no merge keys (`<<`), of which a few lines can make gigabytes, and which no recorder writes."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        pass

# SPDX-License-Identifier: Apache-2.0
"""What a demo plays of a bag: a camera, what belongs to it, and the questions and the truth if it brings them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevlm_ros.bag_metadata import COMPRESSED
from edgevlm_ros.bags import BagReader, Topic

CONVERTED = Topic("/image/compressed", COMPRESSED, 0, False)
"""The camera of a bag that is made of a video or a folder of images, before it is made."""

_PLAYED_TYPES = ("sensor_msgs/msg/CameraInfo", "edgevlm_msgs/msg/Annotation", "edgevlm_msgs/msg/Question")


@dataclass(frozen=True, slots=True)
class Source:
    """What is played. start, end: nanoseconds, the bag's clock. topics: those that are played."""

    name: str
    bag: Path
    images: Topic
    start: int
    end: int
    topics: tuple[str, ...]
    has_questions: bool
    has_truth: bool

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1e9


def open_source(path: Path, image_topic: str = "", question: str = "", name: str = "") -> Source:
    """What there is to play in a bag, without its own questions if another is asked. Raises BagError."""
    with BagReader(path) as bag:
        images = bag.image_topic(image_topic)
        topics = [topic for topic in bag.topics.values() if topic.type in _PLAYED_TYPES and topic.count]
        asked = [topic for topic in topics if topic.type.endswith("/Question")]
        played = [topic.name for topic in topics if not (question and topic in asked)]
        return Source(
            name=name or path.name,
            bag=path,
            images=images,
            start=bag.start,
            end=bag.end,
            topics=(images.name, *played),
            has_questions=bool(asked),
            has_truth=any(topic.type.endswith("/Annotation") for topic in topics),
        )

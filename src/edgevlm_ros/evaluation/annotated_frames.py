# SPDX-License-Identifier: Apache-2.0
"""Real frames to measure on: a bag's images, each with what the bag knows about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevlm_ros.bags import BagReader
from edgevlm_ros.evaluation.recording import nanoseconds
from edgevlm_ros.images import to_rgb
from edgevlm_ros.transfer.types import Frame, Question, Region

_ANNOTATION = "edgevlm_msgs/msg/Annotation"


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedFrame:
    """question, answer: None and "" where the bag has no ground truth. regions: pixels of the frame."""

    frame: Frame
    question: Question | None = None
    answer: str = ""
    regions: tuple[Region, ...] = ()


def annotated_frames(bag: Path, most: int, spread: bool = False) -> list[AnnotatedFrame]:
    """The first frames of a bag, or so many of them spread over its length. Raises BagError and ImageError.

    Spread ones are those with a region, where the bag knows any.
    """
    with BagReader(bag) as reader:
        topic = reader.image_topic().name
        truths = map(reader.deserialize, reader.records(types=[_ANNOTATION]))
        messages = {nanoseconds(message.header.stamp): message for message in truths}
        regions = {stamp: tuple(map(_region, message.regions)) for stamp, message in messages.items()}
        wanted = {stamp for stamp, found in regions.items() if found} if spread else set()
        stamps = [nanoseconds(reader.deserialize(record).header.stamp) for record in reader.records(topics=[topic])]
        stamps = [stamp for stamp in stamps if not wanted or stamp in wanted]
        step = max(len(stamps) / most, 1.0) if spread else 1.0
        chosen = {stamps[int(index * step)] for index in range(min(most, len(stamps)))}
        frames = []
        for record in reader.records(topics=[topic]):
            image = reader.deserialize(record)
            stamp = nanoseconds(image.header.stamp)
            if stamp not in chosen:
                continue
            frame, message = Frame(stamp, to_rgb(image)), messages.get(stamp)
            if message is None:
                frames.append(AnnotatedFrame(frame))
            else:
                frames.append(AnnotatedFrame(frame, Question(message.question), message.answer, regions[stamp]))
        return frames


def _region(message: Any) -> Region:
    box = message.box
    x0, y0 = float(box.x_offset), float(box.y_offset)
    return Region(message.label, float(message.score), x0, y0, x0 + box.width, y0 + box.height)

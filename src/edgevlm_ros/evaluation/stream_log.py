# SPDX-License-Identifier: Apache-2.0
"""What of a bag concerns an evaluation, as far as it can be read.

A robot's bag has topics that nobody here knows, drivers whose clock jumps, damaged messages, and sometimes no end. None
of that ends the reading: it is named and counted. Only a bag without images cannot be read at all.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from edgevlm_ros.bag_types import BagError, typestore
from edgevlm_ros.bags import BagReader, Record
from edgevlm_ros.evaluation.problems import Problems
from edgevlm_ros.evaluation.recording import nanoseconds
from edgevlm_ros.evaluation.stream_images import StreamImages
from edgevlm_ros.images import ImageError, to_rgb
from edgevlm_ros.transfer.types import Question

BACKWARDS = "frame skipped, its stamp is not after the one before"
_QUESTION, _ANNOTATION, _FACTS = (f"edgevlm_msgs/msg/{name}" for name in ("Question", "Annotation", "Facts"))


class StreamLog:
    """A bag's messages, read once in the order in which they were recorded. bag: open.

    stamps: capture times of the frames, nanoseconds, ascending. questions: by time of recording. annotations, facts:
    the messages as they are.
    """

    def __init__(self, bag: BagReader, image_topic: str, problems: Problems) -> None:
        self.images = StreamImages(bag.path)
        self.stamps: list[int] = []
        self.questions: list[tuple[int, Question]] = []
        self._recorded: list[int] = []  # the frames' times of recording
        self.annotations: list[Any] = []
        self.facts: list[Any] = []
        self._problems = problems
        for part in bag.left_out:
            problems.add("part of the bag that cannot be read, left out", part)
        for topic in bag.topics.values():
            if topic.type not in typestore().fielddefs:
                problems.add("topic of a type that is not known here, not looked at", f"{topic.name}: {topic.type}")
        camera = bag.image_topic(image_topic).name
        topics = [t.name for t in bag.topics.values() if t.name == camera or t.type in (_QUESTION, _ANNOTATION, _FACTS)]
        try:
            for record in bag.records(topics):
                try:
                    self._take(record, bag.deserialize(record), record.topic == camera)
                except (BagError, ImageError) as error:
                    where = f"{(record.stamp - bag.start) / 1e9:.1f} s: {error}"
                    problems.add(f"message on {record.topic} skipped, it is damaged", where)
        except BagError as error:
            problems.add("the rest of the bag is left out", str(error))
        for name, count in bag.dropped.items():
            problems.add("packets of video that show no frame, skipped", f"{name}: {count}")

    def _take(self, record: Record, message: Any, is_frame: bool) -> None:
        if is_frame:
            stamp = nanoseconds(message.header.stamp) or record.stamp  # some drivers leave it empty
            if self.stamps and stamp <= self.stamps[-1]:
                self._problems.add(BACKWARDS, self.place(stamp))
                return
            to_rgb(message)
            self.images.keep(stamp, record)
            self.stamps.append(stamp)
            self._recorded.append(record.stamp)
        elif record.type == _ANNOTATION:
            self.annotations.append(message)
        elif record.type == _FACTS:
            self.facts.append(message)
        elif message.text.strip():
            self.questions.append((record.stamp, Question(message.text)))
        else:
            self._problems.add("question without words, skipped", f"{record.stamp} ns")

    def place(self, stamp: int) -> str:
        return f"at {(stamp - self.stamps[0]) / 1e9:.1f} s"

    def frame_after(self, recorded: int) -> int | None:
        """Stamp of the first frame that was recorded at or after a time; clocks of stamps and of recording differ."""
        at = bisect_left(self._recorded, recorded)
        return self.stamps[at] if at < len(self.stamps) else None

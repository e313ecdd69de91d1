# SPDX-License-Identifier: Apache-2.0
"""What a run said, read back from its bag: the demo's, or one that `ros2 bag record` made on a robot.

Stamps are nanoseconds in the stream's clock; a message was published when the bag says that it was heard.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgevlm_ros.bags import BagReader
from edgevlm_ros.evaluation.streaming import Published, Truth
from edgevlm_ros.transfer.types import Question, Status

_PACKAGE = "edgevlm_msgs/msg"
_STATUS_NAMES = {int(status): status.name.lower() for status in Status}


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """A line of answers.jsonl. Stamps: nanoseconds. Ages and times: seconds, as in Answer.msg. context_stamp,
    context_age: None where no cloud answer was in use. truth: the right answer for this frame, None if unknown."""

    stamp: int
    published: int
    question: str
    text: str
    confidence: float | None
    frame_age: float
    inference_time: float
    first_token_time: float
    context_stamp: int | None
    context_age: float | None
    focus_mode: str
    model: str
    truth: str | None

    @classmethod
    def of(cls, message: Any, published: int, truth: str | None) -> AnswerRecord:
        """message: an Answer, of rclpy or of rosbags."""
        used = bool(message.context_used)
        return cls(
            stamp=nanoseconds(message.header.stamp),
            published=published,
            question=message.question,
            text=message.text,
            confidence=round(float(message.confidence), 4) if math.isfinite(message.confidence) else None,
            frame_age=round(float(message.frame_age), 6),
            inference_time=round(float(message.inference_time), 6),
            first_token_time=round(float(message.first_token_time), 6),
            context_stamp=nanoseconds(message.context_stamp) if used else None,
            context_age=round(float(message.context_age), 6) if used else None,
            focus_mode=message.focus_mode,
            model=message.model,
            truth=truth,
        )

    def line(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"

    def as_published(self) -> Published:
        return Published(self.published, Question(self.question), self.text)


@dataclass(frozen=True, slots=True)
class ContextRecord:
    """What came of one keyframe. stamp: of the keyframe. published: when the outcome was heard. delay: seconds."""

    stamp: int
    published: int
    question: str
    status: str
    error: str
    text: str
    regions: int
    delay: float
    bytes_up: int
    model: str


@dataclass
class Recording:
    """metrics: the last of each node, as plain numbers by name."""

    answers: list[AnswerRecord] = field(default_factory=list)
    contexts: list[ContextRecord] = field(default_factory=list)
    truths: list[Truth] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)


def read_recording(path: Path) -> Recording:
    """Raises BagError."""
    recording = Recording()
    answers: list[tuple[int, Any]] = []
    with BagReader(path) as bag:
        names = ("Answer", "CloudContext", "Metrics", "Annotation")
        for record in bag.records(types=[f"{_PACKAGE}/{name}" for name in names]):
            message = bag.deserialize(record)
            if record.type == f"{_PACKAGE}/Answer":
                answers.append((record.stamp, message))
            elif record.type == f"{_PACKAGE}/CloudContext":
                recording.contexts.append(_context(message, record.stamp))
            elif record.type == f"{_PACKAGE}/Metrics":
                recording.metrics[message.node] = _numbers(message)
            else:
                stamp = nanoseconds(message.header.stamp)
                recording.truths.append(Truth(stamp, Question(message.question), message.answer))
    right = {(truth.stamp, truth.question.text): truth.answer for truth in recording.truths}
    for published, message in answers:
        truth = right.get((nanoseconds(message.header.stamp), message.question))
        recording.answers.append(AnswerRecord.of(message, published, truth))
    return recording


def nanoseconds(stamp: Any) -> int:
    """stamp: a builtin_interfaces/Time, of rclpy or of rosbags."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _context(message: Any, published: int) -> ContextRecord:
    status = int(message.status)
    return ContextRecord(
        stamp=nanoseconds(message.header.stamp),
        published=published,
        question=message.question,
        status=_STATUS_NAMES.get(status, f"status {status}"),
        error=message.error_msg,
        text=message.text,
        regions=len(message.regions),
        delay=float(message.delay),
        bytes_up=int(message.bytes_up),
        model=message.model,
    )


def _numbers(message: Any) -> dict[str, float]:
    """The counters and timings of a Metrics message of rosbags."""
    values = {name: getattr(message, name) for name in message.__dataclass_fields__}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}

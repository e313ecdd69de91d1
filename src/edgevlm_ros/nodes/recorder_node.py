# SPDX-License-Identifier: Apache-2.0
"""The recorder: keeps what the graph says, for people to read and for figures to be made of.

In its folder: `bag` (MCAP: answers, contexts, focus, metrics, questions, ground truth, each at the time it was sent),
answers.jsonl (a line by the time of the next answer) and overlay.mp4. Messages are taken as the bytes they are, the
video is encoded in a thread of its own, and nothing that comes in on a topic can end it.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from edgevlm_msgs.msg import Annotation, Answer, CloudContext, Focus, Metrics
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_ros.bags import STORAGES, BagError, BagWriter
from edgevlm_ros.evaluation.recording import AnswerRecord, nanoseconds
from edgevlm_ros.evaluation.stream_clock import StreamClock
from edgevlm_ros.evaluation.video import VideoWriter
from edgevlm_ros.images import to_rgb
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.parameters import Parameter, ParameterError, Parameters

PARAMETERS = (
    Parameter("folder", "recording", "Where to write bag, answers.jsonl and overlay.mp4."),
    Parameter("storage", "mcap", "Of the bag.", choices=STORAGES),
    Parameter("overlay", True, "Whether to make a video of 'focus/overlay'."),
)
TOPICS: dict[str, tuple[type[Any], Any]] = {
    "question": (QuestionMsg, qos.LATCHED),
    "ground_truth": (Annotation, qos.EVENTS),
    "answer": (Answer, qos.EVENTS),
    "context": (CloudContext, qos.EVENTS),
    "focus": (Focus, qos.EVENTS),
    "metrics": (Metrics, qos.EVENTS),
}
_TRUTHS = 100  # annotations kept until their frames' answers come


class RecorderNode(Node):
    """In: TOPICS and `focus/overlay`. Out: files."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("recorder_node", **kwargs)
        values = Parameters(self, PARAMETERS, lambda: None, lambda: True)
        folder = Path(values["folder"]).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        self._bag = BagWriter(folder / "bag", values["storage"])
        self._lines: TextIO = (folder / "answers.jsonl").open("w", encoding="utf-8", buffering=1)
        self._video = VideoWriter(folder / "overlay.mp4") if values["overlay"] else None
        self._truths: OrderedDict[tuple[int, str], str] = OrderedDict()
        self._waiting: tuple[Answer, int] | None = None
        self._early: list[tuple[str, str, bytes]] = []
        self._stream_clock: StreamClock | None = None
        if self.get_parameter("use_sim_time").value:
            self._stream_clock = StreamClock()
            self.create_subscription(Clock, "/clock", _with_info(self._on_clock), qos.NEWEST_IMAGE)
        for topic, (kind, profile) in TOPICS.items():
            name, type_name = self.resolve_topic_name(topic), f"edgevlm_msgs/msg/{kind.__name__}"
            self._bag.add_topic(name, type_name, latched=profile is qos.LATCHED)
            take = _with_info(partial(self._on_message, kind, name, type_name))
            self.create_subscription(kind, topic, take, profile, raw=True)
        if self._video is not None:
            self.create_subscription(Image, "focus/overlay", self._on_overlay, qos.EVENTS, raw=True)
        self.get_logger().info(f"recording into {folder}")

    def _on_clock(self, message: Clock, info: dict[str, int]) -> None:
        if self._stream_clock is not None:
            self._stream_clock.tick(nanoseconds(message.clock), info["source_timestamp"])

    def _sent(self, info: dict[str, int]) -> int | None:
        """When a message was sent, in the stream's clock; None before that begins."""
        if self._stream_clock is None:
            return int(self.get_clock().now().nanoseconds)
        return self._stream_clock.at(info["source_timestamp"])

    def _on_message(self, kind: type[Any], name: str, type_name: str, data: bytes, info: dict[str, int]) -> None:
        try:
            now = self._sent(info)
            if now is None:  # what is latched happens when the clock begins
                self._early += [(name, type_name, data)] if kind is QuestionMsg else []
                return
            for early in self._early:
                began = now if self._stream_clock is None else self._stream_clock.began
                self._bag.write(early[0], early[1], began, early[2])
            self._early.clear()
            self._bag.write(name, type_name, now, data)
            if kind is Annotation:
                self._keep_truth(deserialize_message(data, Annotation))
            elif kind is Answer:
                self._keep_answer(deserialize_message(data, Answer), now)
        except Exception as error:
            self.get_logger().error(f"a message on {name} is not recorded: {error!r}", throttle_duration_sec=5.0)

    def _keep_truth(self, message: Annotation) -> None:
        key = nanoseconds(message.header.stamp), message.question
        self._truths[key] = message.answer
        while len(self._truths) > _TRUTHS:
            self._truths.popitem(last=False)
        if self._waiting is not None and key == _key(self._waiting[0]):
            self._write_waiting()

    def _keep_answer(self, message: Answer, now: int) -> None:
        """Writes it with its ground truth, which may come a moment later: then, or with the next answer."""
        self._write_waiting()
        self._waiting = message, now
        if _key(message) in self._truths:
            self._write_waiting()

    def _write_waiting(self) -> None:
        if self._waiting is not None:
            (message, now), self._waiting = self._waiting, None
            self._lines.write(AnswerRecord.of(message, now, self._truths.get(_key(message))).line())

    def _on_overlay(self, data: bytes) -> None:
        if self._video is not None:
            self._video.put(lambda: _picture(data))

    def close(self) -> None:
        """Finishes the files."""
        self._write_waiting()
        self._lines.close()
        self._bag.close()
        if self._video is not None:
            self._video.close()
            if self._video.dropped:
                print(f"{self._video.dropped} overlay frames were left out of the video", file=sys.stderr)
            if self._video.error is not None:
                print(f"error: {self._video.error}", file=sys.stderr)


def _with_info(take: Callable[[Any, dict[str, int]], None]) -> Callable[..., None]:
    """A subscription's callback that is told when the message was sent; in Humble, whose rclpy does not say, heard."""
    if hasattr(Subscription, "CallbackType"):
        return take
    return lambda message: take(message, {"source_timestamp": time.time_ns()})


def _key(message: Answer) -> tuple[int, str]:
    return nanoseconds(message.header.stamp), message.question


def _picture(data: bytes) -> tuple[int, Any]:
    message = deserialize_message(data, Image)
    return nanoseconds(message.header.stamp), to_rgb(message)


def main(args: list[str] | None = None) -> None:
    rclpy.init(args=args)
    try:
        node = RecorderNode()
    except (ParameterError, BagError, OSError) as error:
        rclpy.try_shutdown()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()

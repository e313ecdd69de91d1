# SPDX-License-Identifier: Apache-2.0
"""The recorder: keeps what the graph says, for people to read and for figures to be made of.

In its folder: `bag` (answers, contexts, focus, metrics, questions, diagnostics, ground truth, each at the time it was
sent), answers.jsonl (a line by the time of the next answer) and, if asked for, overlay.mp4 and the camera's images.
Messages are taken as the bytes they are, files are written in threads of their own, and nothing that comes in on a
topic or that the disk does can end it: a record that stops says so, in the log and in the diagnostics.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from edgevlm_msgs.msg import Annotation, Answer, CloudContext, Focus, Metrics
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_ros.bag_writer import STORAGES
from edgevlm_ros.evaluation.recording import AnswerRecord, nanoseconds
from edgevlm_ros.evaluation.stream_clock import StreamClock
from edgevlm_ros.evaluation.video import VideoWriter
from edgevlm_ros.images import to_rgb
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.camera import HOST, status_name
from edgevlm_ros.nodes.camera_health import base_name
from edgevlm_ros.nodes.executor import NodeExecutor
from edgevlm_ros.nodes.parameters import Parameter, Parameters
from edgevlm_ros.nodes.run import WAKE_S, run_process
from edgevlm_ros.record import Limits, Record, RecordedTopic
from edgevlm_ros.stop_signal import StopSignal

PARAMETERS = (
    Parameter(
        "folder",
        "~/edgevlm_records/%Y-%m-%d_%H-%M-%S",
        "Where to write bag, answers.jsonl and overlay.mp4; what begins with % stands for the time, as in strftime. It "
        "must not have a record already.",
    ),
    Parameter("storage", "mcap", "Of the bag.", choices=STORAGES),
    Parameter("cameras", [], "Names of the edge node's cameras, if it has several."),
    Parameter("images", False, "Whether to keep 'image/compressed' and 'camera_info' too."),
    Parameter("overlay", False, "Whether to make a video of 'focus/overlay'."),
    Parameter("flush_period", 1.0, "Seconds after which what was said is on the disk.", 0.05, 60.0),
    Parameter("min_free", 500.0, "MB of the disk that stay free: the recording stops before.", 0.0, 1e9),
    Parameter("max_size", 0.0, "MB of the bag at which the recording stops; 0 for any.", 0.0, 1e9),
)
TOPICS: dict[str, tuple[type[Any], Any]] = {
    "question": (QuestionMsg, qos.LATCHED),
    "ground_truth": (Annotation, qos.EVENTS),
    "answer": (Answer, qos.EVENTS),
    "context": (CloudContext, qos.EVENTS),
    "focus": (Focus, qos.EVENTS),
    "metrics": (Metrics, qos.EVENTS),
}
IMAGE_TOPICS: dict[str, tuple[type[Any], Any]] = {
    "image/compressed": (CompressedImage, qos.NEWEST_IMAGE),
    "camera_info": (CameraInfo, qos.NEWEST_IMAGE),
}
_TRUTHS = 100  # annotations kept until their frames' answers come
_SLOW_S = 5.0  # without a flush
_STOPPED = "recording stopped: "

Taken = Callable[[bytes, int], None]
"""What is done with a message besides keeping it: its bytes, and when it was sent in nanoseconds."""


class RecorderNode(Node):
    """In: TOPICS, `focus/overlay` and IMAGE_TOPICS of each camera, `/diagnostics`. Out: files, and `/diagnostics`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("recorder_node", **kwargs)
        values = Parameters(self, PARAMETERS, lambda: None, lambda: True)
        self._topics: list[RecordedTopic] = []
        self._heard: list[tuple[type[Any], RecordedTopic, Any, Taken | None]] = []
        self._images: list[str] = []
        self._early: list[Callable[[int], None]] = []
        self._stream_clock: StreamClock | None = None
        self._subscribed: list[Any] = []
        self._cameras = [_Camera(name, f"{name}/" if name else "") for name in values["cameras"] or [""]]
        for camera in self._cameras:
            for topic, (kind, profile) in {**TOPICS, **(IMAGE_TOPICS if values["images"] else {})}.items():
                self._hear(kind, self._name_of(camera.prefix, topic), profile, camera.takes(kind))
            self._images += [self._name_of(camera.prefix, "image/compressed")] if values["images"] else []
        self._hear(DiagnosticArray, "/diagnostics", qos.EVENTS, None)
        folder = Path(time.strftime(values["folder"])).expanduser()
        limits = Limits(values["flush_period"], values["min_free"], values["max_size"])
        texts = [camera.file("answers.jsonl") for camera in self._cameras]
        topics = [topic for _, topic, _, _ in self._heard]
        self._record = Record(folder, values["storage"], topics, texts, limits, self._on_stop)
        if not self._record.stopped:
            self.get_logger().info(f"recording into {folder}")
            self._listen(folder if values["overlay"] else None)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENTS)
        # on the steady clock: a paused simulation must not silence the diagnostics
        self.create_timer(1.0, self._report, clock=RosClock(clock_type=ClockType.STEADY_TIME))

    # -- what is heard -----------------------------------------------------------------------------------------------

    def _name_of(self, prefix: str, topic: str) -> str:
        """The whole name. What belongs to the camera's image has its place beside that one, as in image_transport."""
        if topic not in IMAGE_TOPICS:
            return str(self.resolve_topic_name(prefix + topic))
        image = base_name(self.resolve_topic_name(f"{prefix}image"))
        beside = f"{image}/compressed" if topic.startswith("image") else f"{image.rpartition('/')[0]}/{topic}"
        return str(self.resolve_topic_name(beside))

    def _hear(self, kind: type[Any], name: str, profile: Any, taken: Taken | None) -> None:
        type_name = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
        self._heard.append((kind, RecordedTopic(name, type_name, profile is qos.LATCHED), profile, taken))

    def _listen(self, video: Path | None) -> None:
        """video: folder of the videos, if there are to be some."""
        if self.get_parameter("use_sim_time").value:
            self._stream_clock = StreamClock()
            self.create_subscription(Clock, "/clock", qos.with_info(self._on_clock), qos.NEWEST_IMAGE)
        for kind, topic, profile, taken in self._heard:
            take = qos.with_info(partial(self._on_message, topic, taken))
            self._subscribed.append(self.create_subscription(kind, topic.name, take, profile, raw=True))
        for camera in self._cameras:
            camera.write = self._record.write_text
            if video is not None:
                camera.video = VideoWriter(video / camera.file("overlay.mp4"))
                overlay = f"{camera.prefix}focus/overlay"
                seen = self.create_subscription(Image, overlay, camera.on_overlay, qos.EVENTS, raw=True)
                self._subscribed.append(seen)

    def _on_clock(self, message: Clock, info: dict[str, int]) -> None:
        if self._stream_clock is not None:
            self._stream_clock.tick(nanoseconds(message.clock), info["source_timestamp"])

    def _sent(self, info: dict[str, int]) -> int | None:
        """When a message was sent, in the stream's clock; None before that begins."""
        if self._stream_clock is None:
            return int(self.get_clock().now().nanoseconds)
        return self._stream_clock.at(info["source_timestamp"])

    def _on_message(self, topic: RecordedTopic, taken: Taken | None, data: bytes, info: dict[str, int]) -> None:
        try:
            now = self._sent(info)
            if now is None:  # what is latched happens when the clock begins
                if topic.latched:
                    self._early.append(lambda began: self._record.write(topic.name, topic.type, began, data))
                return
            for early in self._early:
                early(now if self._stream_clock is None else self._stream_clock.began)
            self._early.clear()
            self._record.write(topic.name, topic.type, now, data)
            if taken is not None:
                taken(data, now)
        except Exception as error:
            self.get_logger().error(f"a message on {topic.name} is not recorded: {error!r}", throttle_duration_sec=5.0)

    def _on_stop(self, reason: str) -> None:
        self.get_logger().error(f"{_STOPPED}{reason}")

    # -- how it is ---------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        record = self._record
        if record.stopped:  # the overlay is drawn for subscribers only
            while self._subscribed:
                self.destroy_subscription(self._subscribed.pop())
        dark = [name for name in self._images if not self.count_publishers(name)]
        level, text = health(record, dark)
        values = {
            "folder": str(record.folder),
            "messages on the disk": str(record.written),
            "messages lost": str(record.lost),
            "size [MB]": f"{record.size / 1e6:.1f}",
            "errors of callbacks": str(getattr(self.executor, "errors", 0)),
        }
        status = DiagnosticStatus(level=level, name=status_name(self), message=text, hardware_id=HOST)
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def close(self) -> int:
        """Finishes the files; the exit code."""
        for camera in self._cameras:
            camera.write_waiting()
        self._record.close()
        for video in (camera.video for camera in self._cameras if camera.video is not None):
            video.close()
            if video.dropped:
                print(f"{video.dropped} overlay frames were left out of the video", file=sys.stderr)
            if video.error is not None:
                print(f"error: {video.error}", file=sys.stderr)
        return 1 if self._record.stopped else 0


class _Camera:
    """What is kept of one camera besides the bag: a line for each answer, with its ground truth, and the video.

    name: empty for the one of the node's namespace, whose files lie in the folder itself.
    """

    def __init__(self, name: str, prefix: str) -> None:
        self.name, self.prefix = name, prefix
        self.write: Callable[[str, str], None] = lambda name, text: None
        self.video: VideoWriter | None = None
        self._truths: OrderedDict[tuple[int, str], str] = OrderedDict()
        self._waiting: tuple[Answer, int] | None = None

    def file(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def takes(self, kind: type[Any]) -> Taken | None:
        return {Annotation: self._keep_truth, Answer: self._keep_answer}.get(kind)

    def _keep_truth(self, data: bytes, sent: int) -> None:
        message = deserialize_message(data, Annotation)
        key = nanoseconds(message.header.stamp), message.question
        self._truths[key] = message.answer
        while len(self._truths) > _TRUTHS:
            self._truths.popitem(last=False)
        if self._waiting is not None and key == _key(self._waiting[0]):
            self.write_waiting()

    def _keep_answer(self, data: bytes, sent: int) -> None:
        """Writes it with its ground truth, which may come a moment later: then, or with the next answer."""
        self.write_waiting()
        self._waiting = deserialize_message(data, Answer), sent
        if _key(self._waiting[0]) in self._truths:
            self.write_waiting()

    def write_waiting(self) -> None:
        if self._waiting is not None:
            (message, sent), self._waiting = self._waiting, None
            line = AnswerRecord.of(message, sent, self._truths.get(_key(message))).line()
            self.write(self.file("answers.jsonl"), line)

    def on_overlay(self, data: bytes) -> None:
        if self.video is not None:
            self.video.put(lambda: _picture(data))


def health(record: Record, dark: list[str]) -> tuple[bytes, str]:
    """How the recording is, for diagnostics. dark: topics of images that nobody publishes."""
    if record.stopped:
        return DiagnosticStatus.ERROR, f"{_STOPPED}{record.stopped}"
    if record.unflushed() > _SLOW_S:
        return DiagnosticStatus.WARN, f"the disk has taken nothing for {record.unflushed():.0f} s"
    if record.lost:
        return DiagnosticStatus.WARN, f"the disk is too slow: {record.lost} messages are not recorded"
    if dark:
        return DiagnosticStatus.WARN, f"nobody publishes {', '.join(dark)}: only compressed images are recorded"
    return DiagnosticStatus.OK, f"recording into {record.folder}"


def _key(message: Answer) -> tuple[int, str]:
    return nanoseconds(message.header.stamp), message.question


def _picture(data: bytes) -> tuple[int, Any]:
    message = deserialize_message(data, Image)
    return nanoseconds(message.header.stamp), to_rgb(message)


def _record(stop: StopSignal) -> int:
    """Until a signal comes; that must not fall into a file that is being finished."""
    node = RecorderNode()
    executor = NodeExecutor()
    executor.add_node(node)
    try:
        with suppress(ExternalShutdownException):
            while rclpy.ok() and not stop.came:
                executor.spin_once(timeout_sec=WAKE_S)
    finally:
        code = node.close()
        node.destroy_node()
    return code


def main(args: list[str] | None = None) -> None:
    run_process(_record, args)

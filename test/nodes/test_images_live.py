# SPDX-License-Identifier: Apache-2.0
"""Cameras that change in mid-stream, before the real edge node: each frame is answered, or named."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from edgevlm_msgs.msg import Answer, CloudContext, Focus, Metrics, Region
from edgevlm_ros.assets import share_dir
from edgevlm_ros.images import to_image, to_jpeg
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.conversions import to_nanoseconds, to_time
from edgevlm_ros.transfer.types import Question as Asked

QUESTION = "where is the person?"
RGB = np.random.default_rng(7).integers(0, 255, (240, 320, 3), dtype=np.uint8)
DEPTH = np.full((240, 320), 1500, np.uint16)


@pytest.fixture(autouse=True)
def room_for_large_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a robot with Fast DDS and raw images is set up; before the first participant is made."""
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.setenv(name, str(share_dir() / "config" / "fastdds.xml"))


class Stream:
    """A camera, and who listens to the edge node behind it. No one publishes camera_info."""

    def __init__(self, ros: Any, model: Path, transport: str = "raw", **parameters: object) -> None:
        self.ros = ros
        node = ros.node()
        self.answers: list[Answer] = []
        self.focuses: list[Focus] = []
        self.metrics: list[Metrics] = []
        self.told: list[DiagnosticStatus] = []
        node.create_subscription(Answer, "answer", self.answers.append, qos.EVENTS)
        node.create_subscription(Focus, "focus", self.focuses.append, qos.EVENTS)
        node.create_subscription(Metrics, "metrics", self.metrics.append, qos.EVENTS)
        node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: self.told.extend(m.status), qos.EVENTS)
        kind, topic = (Image, "image") if transport == "raw" else (CompressedImage, "image/compressed")
        self.camera = node.create_publisher(kind, topic, qos.EVENTS)
        self.cloud = node.create_publisher(CloudContext, "context", qos.EVENTS)
        settings = {"model": model, "question": QUESTION, "image_transport": transport, "threads": 1}
        self.process = ros.run_node("edge_node", **{**settings, "max_new_tokens": 4, **parameters})
        self.until(lambda: self.camera.get_subscription_count() == 1 and node.count_publishers("answer") == 1)
        self._frames = 0

    @property
    def log(self) -> str:
        return str(self.process.output)

    def until(self, condition: Callable[[], object]) -> None:
        assert self.ros.spin_until(condition), self.log
        assert self.process.popen.poll() is None, self.log

    def header(self) -> Header:
        self._frames += 1
        return Header(frame_id=f"camera_{self._frames}", stamp=to_time(time.time_ns()))

    def answered(self, message: Any) -> Answer:
        """Shows a frame, again while it gets lost on its way, until its answer comes; under its header, unchanged."""
        for _ in range(10):
            self.camera.publish(message)
            if self.ros.spin_until(lambda: self.answers and self.answers[-1].header == message.header, timeout=5.0):
                return self.answers[-1]
        raise AssertionError(f"no answer: {self.log}")

    def refused(self, message: Any, why: str) -> None:
        """Shows a frame, again while it gets lost on its way, until the log says what is wrong with it."""
        for _ in range(10):
            self.camera.publish(message)
            if self.ros.spin_until(lambda: why in self.log, timeout=8.0):  # the log is throttled
                break
        assert why in self.log
        assert all(answer.header != message.header for answer in self.answers)
        assert self.process.popen.poll() is None

    @property
    def bad(self) -> int:
        return self.metrics[-1].frames_bad if self.metrics else 0


def raw(header: Header, pixels: np.ndarray, encoding: str) -> Image:
    return to_image(header, pixels, encoding)


def in_every_encoding() -> dict[str, np.ndarray]:
    """The same picture as cameras publish it."""
    bgr, gray = RGB[..., ::-1], cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
    yuv = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV)
    return {
        "rgb8": RGB,
        "bgr8": np.ascontiguousarray(bgr),
        "mono8": gray,
        "mono16": gray.astype(np.uint16) << 8,
        "bgra8": np.dstack([bgr, gray]),
        "rgb16": RGB.astype(np.uint16) << 8,
        "yuv422_yuy2": np.ascontiguousarray(yuv[..., :2]),
        "bayer_rggb8": gray,
    }


def test_the_encoding_may_change_with_every_frame(ros: Any, tiny_model: Path) -> None:
    stream = Stream(ros, tiny_model)
    said = {name: stream.answered(raw(stream.header(), p, name)).text for name, p in in_every_encoding().items()}
    assert said["rgb8"] == said["bgr8"] == said["bgra8"] == said["rgb16"] != said["mono8"] == said["mono16"]
    stamps = [to_nanoseconds(answer.header.stamp) for answer in stream.answers]
    assert stamps == sorted(stamps)
    stream.until(lambda: stream.metrics and stream.metrics[-1].frames_answered >= len(said))
    assert stream.bad == 0


def test_the_size_may_change_with_every_frame_and_a_region_comes_back_with_its_view(ros: Any, tiny_model: Path) -> None:
    # This process may have begun with half a MB of shared memory, more than which may get lost each time: so the frames
    # are compressed, and the large one is smooth.
    stream = Stream(ros, tiny_model, "compressed", **{"focus.half_life": 3600.0, "replacement.max_context_age": 600.0})

    def shown(view: np.ndarray) -> CompressedImage:
        return CompressedImage(header=stream.header(), format="jpeg", data=to_jpeg(np.ascontiguousarray(view)))

    keyframe = stream.answered(shown(RGB)).header
    box = RegionOfInterest(x_offset=80, y_offset=60, width=120, height=100)
    stream.cloud.publish(
        CloudContext(
            header=keyframe,
            keyframe_id=1,
            question_id=Asked(QUESTION).id,
            text="on the left",
            regions=[Region(label="person", score=1.0, box=box)],
            image_width=320,
            image_height=240,
        )
    )
    stream.until(lambda: stream.answered(shown(RGB)).context_used)
    views = {
        "half": cv2.resize(RGB, (160, 120), interpolation=cv2.INTER_AREA),
        "portrait": np.rot90(RGB),
        "one pixel": RGB[:1, :1],
        "odd": RGB[:151, :291],
        "large": cv2.resize(RGB[:24, :32], (1920, 1080)),
        "as before": RGB,
        "and again": RGB,
    }
    carried = {}
    for name, view in views.items():
        answer = stream.answered(shown(view))
        stream.until(lambda header=answer.header: stream.focuses and stream.focuses[-1].header == header)  # type: ignore[misc]
        carried[name] = [
            (r.box.x_offset, r.box.y_offset, r.box.width, r.box.height) for r in stream.focuses[-1].regions
        ]
    assert not any(carried[name] for name in ("portrait", "one pixel", "odd", "large"))
    assert np.allclose(carried["and again"], [(80, 60, 120, 100)], atol=8)
    assert np.allclose(carried["half"], [(40, 30, 60, 50)], atol=4)
    assert stream.bad == 0


def test_a_damaged_frame_between_good_ones_is_counted_and_named(ros: Any, tiny_model: Path) -> None:
    stream = Stream(ros, tiny_model)
    stream.answered(raw(stream.header(), RGB, "rgb8"))
    short = raw(stream.header(), RGB, "rgb8")
    short.data = short.data[:-1]
    stream.refused(short, "data has 230399 bytes, but step x height is 960 x 240 = 230400")
    stream.until(lambda: stream.bad >= 1)
    answer = stream.answered(raw(stream.header(), RGB, "rgb8"))
    assert answer.header.frame_id == "camera_3"
    stream.until(lambda: stream.metrics[-1].frames_answered >= 2)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_a_depth_camera_is_refused_in_words_and_a_colour_camera_is_welcome_after_it(
    ros: Any, tiny_model: Path, encoding: str
) -> None:
    stream = Stream(ros, tiny_model)
    depth = DEPTH if encoding == "16UC1" else DEPTH.astype(np.float32) / 1000

    def told(level: bytes, words: str) -> bool:
        stream.camera.publish(raw(stream.header(), depth, encoding))
        return any(status.level == level and words in status.message for status in stream.told)

    stream.refused(raw(stream.header(), depth, encoding), f"{encoding} is a depth image")
    assert "Remap to the camera's colour topic" in stream.log
    stream.until(lambda: told(DiagnosticStatus.ERROR, f"{encoding} is a depth image"))
    assert not stream.answers
    stream.answered(raw(stream.header(), RGB, "rgb8"))
    count = len(stream.told)
    stream.until(lambda: any(status.message == "answering" for status in stream.told[count:]))


def test_compressed_frames_may_change_their_format_and_size_and_break_in_between(ros: Any, tiny_model: Path) -> None:
    stream = Stream(ros, tiny_model, "compressed")
    bgr, jpeg = RGB[..., ::-1], to_jpeg(RGB)

    def compressed(data: bytes, format: str) -> CompressedImage:
        return CompressedImage(header=stream.header(), format=format, data=data)

    def file(kind: str, pixels: np.ndarray) -> bytes:
        return bytes(cv2.imencode(kind, pixels)[1].tobytes())

    stream.answered(compressed(jpeg, "rgb8; jpeg compressed bgr8"))
    exact = stream.answered(compressed(file(".png", bgr), "bgr8; png compressed bgr8")).text
    stream.refused(compressed(jpeg[: len(jpeg) // 2], "jpeg"), "the JPEG is truncated")
    assert stream.answered(compressed(file(".tiff", bgr), "tiff")).text == exact
    stream.answered(compressed(file(".png", bgr[:, :40].astype(np.uint16) << 8), "rgb16; png compressed bgr16"))
    stream.answered(compressed(file(".jpg", bgr[..., 1]), "mono8; jpeg compressed mono8"))
    stream.refused(compressed(file(".png", DEPTH), "16UC1; png compressed "), "is a depth image")
    stream.answered(compressed(jpeg, "jpeg"))
    stream.until(lambda: stream.bad >= 2)

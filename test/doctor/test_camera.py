# SPDX-License-Identifier: Apache-2.0
"""A camera's topic as it is heard from here, with real publishers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from rclpy.duration import Duration
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from conftest import Ros
from edgevlm_ros.doctor import camera
from edgevlm_ros.doctor.finding import Finding
from edgevlm_ros.images import to_image, to_jpeg
from edgevlm_ros.nodes import qos

PIXELS = np.zeros((48, 64, 3), np.uint8)


@contextmanager
def published(ros: Ros, *topics: tuple[Any, str], old: float = 0.0, encoding: str = "rgb8") -> Iterator[None]:
    """A camera driver at 20 Hz in a thread. old: seconds of its stamps."""
    node = ros.node("driver")
    publishers = [(kind, node.create_publisher(kind, topic, qos.NEWEST_IMAGE)) for kind, topic in topics]
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.05):
            stamp = node.get_clock().now() - Duration(seconds=old)
            header = Header(stamp=stamp.to_msg())
            for kind, publisher in publishers:
                if kind is Image:
                    publisher.publish(to_image(header, PIXELS, encoding))
                else:
                    publisher.publish(CompressedImage(header=header, format="jpeg", data=to_jpeg(PIXELS)))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def looked_at(topic: str, namespace: str = "", *, until: str = "raw timing") -> dict[str, Finding]:
    """What is found; once more while a busy machine lets it meet nobody within the time that people are kept waiting.

    until: a finding that has to be among it.
    """
    for _ in range(5):
        found = {finding.name: finding for finding in camera.check(topic, namespace)}
        if until in found:
            return found
    raise AssertionError(str(found))


def test_both_transports_are_told_with_size_and_rate(ros: Ros) -> None:
    with published(ros, (Image, "/front/image"), (CompressedImage, "/front/image/compressed")):
        found = looked_at("image/compressed", "/front", until="compressed timing")
    assert {finding.level for finding in found.values()} == {"ok"}
    assert "/driver" in found["raw"].found
    assert found["raw images"].found == "64x48 rgb8"
    assert found["compressed images"].found == "64x48 jpeg"
    assert "Hz" in found["raw timing"].found


def test_a_wrong_name_is_told_with_the_right_one(ros: Ros) -> None:
    with published(ros, (Image, "/camera/color/image_raw")):
        (only,) = camera.check("/camera/image_raw")
    assert only.level == "fail"
    assert "/camera/color/image_raw" in only.found


def test_stamps_of_another_clock_and_a_depth_image_are_told(ros: Ros) -> None:
    with published(ros, (Image, "/image"), old=1000.0, encoding="16UC1"):
        found = looked_at("/image")
    assert found["raw timing"].level == "warn"
    assert "another clock" in found["raw timing"].found
    assert found["raw images"].level == "fail"
    assert "depth" in found["raw images"].found


def test_two_drivers_on_one_topic_are_to_look_at() -> None:
    assert camera.source("raw", "/image", ["/a", "/b"]).level == "warn"


def test_one_image_is_no_rate() -> None:
    assert camera.pace("raw timing", 0.0, 0.1).level == "warn"

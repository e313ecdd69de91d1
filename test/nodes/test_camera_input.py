# SPDX-License-Identifier: Apache-2.0
"""One camera's input among real publishers: what it takes, and what it says when nothing of use comes."""

from __future__ import annotations

import math
import re
import time
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

import rclpy
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.camera_health import NO_IMAGE_AFTER_S
from edgevlm_ros.nodes.camera_input import CameraInput


class Camera:
    """An input of a node of its own, and publishers of another node."""

    def __init__(self, ros: Any, topic: str = "image", transport: str = "raw", **options: Any) -> None:
        profile = options.pop("profile", qos.NEWEST_IMAGE)
        self.ros, self.driver = ros, ros.node("driver", namespace="camera")
        self.node = ros.node("edge_node", **options)
        self.taken: list[tuple[Any, float]] = []
        self.input = CameraInput(self.node, topic, transport, lambda *image: self.taken.append(image), profile)

    def publisher(self, topic: str, kind: Any = Image, profile: Any = qos.EVENTS) -> Any:
        """A publisher that the node has heard of."""
        publisher = self.driver.create_publisher(kind, topic, profile)
        assert self.ros.spin_until(lambda: self.node.count_publishers(topic))
        return publisher

    def send(self, publisher: Any, count: int = 1, kind: Any = Image, age: float = 0.0) -> None:
        """Images of that age that came, each."""
        for _ in range(count):
            assert self.ros.spin_until(publisher.get_subscription_count)
            assert any(self._shown(publisher, kind, age) for _ in range(10)), (
                "images are best effort, but not so little"
            )

    def _shown(self, publisher: Any, kind: Any, age: float) -> bool:
        """Whether an image came."""
        before = len(self.taken)
        nanoseconds = time.time_ns() - round(age * 1e9)
        publisher.publish(kind(header=Header(stamp=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9))))
        return bool(self.ros.spin_until(lambda: len(self.taken) > before, timeout=5.0))

    def ill(self, after: float = 0.0) -> str:
        """What is said so many seconds from now; empty if all is well."""
        health = self.input.ill(time.monotonic() + after)
        return "" if health is None else health[1]


LATER = NO_IMAGE_AFTER_S + 1


def test_images_are_handed_on_with_their_time_and_counted(ros: Any) -> None:
    camera = Camera(ros)
    assert camera.input.topic == "/image"
    assert (camera.input.last, camera.input.rate) == (None, 0.0)
    assert math.isnan(camera.input.stamp_age)
    began = time.monotonic()
    camera.send(camera.publisher("/image"), count=5, age=0.2)
    assert [type(message) for message, _ in camera.taken] == [Image] * 5
    assert camera.input.last == camera.taken[-1][1]
    assert began < camera.input.last <= time.monotonic()
    assert camera.input.rate > 0
    assert camera.input.stamp_age >= 0.2
    assert camera.ill() == ""
    values = camera.input.values(time.monotonic())
    assert values["image topic"] == "/image"
    assert float(values["images [Hz]"]) > 0
    assert float(values["stamp age [ms]"]) >= 200


def test_a_remapped_camera_keeps_its_transport(ros: Any) -> None:
    remap = ["--ros-args", "-r", "front/image:=/cam/image_raw"]
    camera = Camera(ros, "front/image", "compressed", cli_args=remap, namespace="robot")
    assert camera.input.topic == "/cam/image_raw/compressed"
    camera.send(camera.publisher("/cam/image_raw/compressed", CompressedImage), kind=CompressedImage)
    assert camera.ill() == ""


def test_a_name_that_ends_in_compressed_is_understood(ros: Any) -> None:
    camera = Camera(ros, transport="compressed", cli_args=["--ros-args", "-r", "image:=/cam/image/compressed"])
    assert camera.input.topic == "/cam/image/compressed"


def test_the_remapping_that_a_compressed_image_on_a_raw_name_needs_works(ros: Any) -> None:
    remap = ["--ros-args", "-r", "/image/compressed:=/image"]
    camera = Camera(ros, transport="compressed", cli_args=remap)
    camera.send(camera.publisher("/image", CompressedImage), kind=CompressedImage)
    assert camera.ill() == ""


def test_without_cameras_the_domain_is_told_and_nothing_too_early(ros: Any) -> None:
    camera = Camera(ros)
    assert camera.ill() == ""
    assert f"No image topic exists at all in ROS domain {ros.domain}" in camera.ill(LATER)


def test_the_topics_that_exist_are_told_with_their_publishers(ros: Any) -> None:
    camera = Camera(ros)
    for topic, kind in [("/camera/image", Image), ("/image/compressed", CompressedImage), ("/focus/overlay", Image)]:
        camera.publisher(topic, kind)
    text = camera.ill(LATER)
    assert "Image topics there are: /image/compressed (1 publisher), /camera/image (1 publisher)." in text
    assert text.endswith("If /image/compressed is meant, set image_transport:=compressed")


def test_a_publisher_of_another_type_is_told_at_once(ros: Any) -> None:
    camera = Camera(ros)
    elsewhere = rclpy.Context()  # as in another process: one DDS participant refuses two types on one topic
    rclpy.init(context=elsewhere, domain_id=ros.domain)
    try:
        driver = rclpy.create_node("driver", context=elsewhere)
        driver.create_publisher(CompressedImage, "/image", qos.EVENTS)
        said = "published with another type (/driver: sensor_msgs/msg/CompressedImage"
        assert ros.spin_until(lambda: said in camera.ill()), camera.ill()
        text = camera.ill()
    finally:
        rclpy.shutdown(context=elsewhere)
    assert "set image_transport:=compressed" in text


def test_incompatible_qos_is_told_at_once_and_forgotten_with_the_first_image(ros: Any) -> None:
    camera = Camera(ros, profile=qos.EVENTS)
    camera.publisher("/image", profile=qos.NEWEST_IMAGE)
    assert "incompatible QoS (/camera/driver: " in camera.ill()
    assert "reliable" in camera.ill().lower()
    assert ros.spin_until(lambda: camera.input._policy == "RELIABILITY"), "the middleware tells it too"
    camera.send(camera.publisher("/image"))
    assert camera.ill() == ""


def test_a_silent_publisher_is_named(ros: Any) -> None:
    camera = Camera(ros)
    camera.publisher("/image")
    assert camera.ill() == ""
    assert "1 publisher (/camera/driver), but nothing comes" in camera.ill(LATER)


def test_a_camera_that_goes_is_told_and_the_warning_ends_when_it_is_back(ros: Any) -> None:
    camera = Camera(ros)
    publisher = camera.publisher("/image")
    camera.send(publisher)
    camera.driver.destroy_publisher(publisher)
    assert ros.spin_until(lambda: not camera.node.count_publishers("/image"))
    assert camera.ill() == ""
    assert "its publisher has gone" in camera.ill(LATER)
    camera.send(camera.publisher("/image"))
    assert camera.ill() == ""


def test_stamps_of_another_clock_are_told_until_they_are_right(ros: Any) -> None:
    camera = Camera(ros)
    publisher = camera.publisher("/image")
    camera.send(publisher, count=3, age=3600)
    assert re.search(r"stamped 36\d\d\.\d s old when they come, so by another clock", camera.ill())
    camera.send(publisher, count=4)
    assert camera.ill() == ""


def test_simulated_time_without_a_clock_is_told(ros: Any) -> None:
    camera = Camera(ros, parameter_overrides=[Parameter("use_sim_time", value=True)])
    camera.send(camera.publisher("/image"))
    assert "use_sim_time is true, but no time has come on /clock" in camera.ill()


def test_a_closed_input_takes_nothing(ros: Any) -> None:
    camera = Camera(ros)
    publisher = camera.publisher("/image")
    camera.send(publisher)
    camera.input.close()
    camera.input.close()
    assert ros.spin_until(lambda: publisher.get_subscription_count() == 0)
    assert len(camera.taken) == 1

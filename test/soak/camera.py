# SPDX-License-Identifier: Apache-2.0
"""The robot's camera as a process of its own: raw and compressed images, with what drivers do to those who listen.

Orders come as words on `camera/order`: `size 320x240`, `pause`, `resume`, `bad 3` (so many broken images),
`stamps -30` (the stream lies so many seconds in the past from now on).
"""

from __future__ import annotations

import argparse
import signal
import sys
from array import array
from collections.abc import Sequence
from typing import Any

import cv2
import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg
from std_msgs.msg import Header, String

from edgevlm_ros.evaluation.load_camera import pictures
from edgevlm_ros.images import to_image, to_jpeg
from edgevlm_ros.nodes import qos

ORDERS = "camera/order"
_WAKE_S = 0.2


class SoakCamera(Node):
    """Out `image` and `image/compressed`, in ORDERS. rate: images a second."""

    def __init__(self, rate: float, width: int, height: int, **kwargs: Any) -> None:
        super().__init__("camera", start_parameter_services=False, **kwargs)
        self._pictures = pictures(width, height)
        self._size = width, height
        self._shown = self._bad = 0
        self._paused = False
        self._shift_s = 0
        self._raw = self.create_publisher(ImageMsg, "image", qos.NEWEST_IMAGE)
        self._compressed = self.create_publisher(CompressedImage, "image/compressed", qos.NEWEST_IMAGE)
        self.create_subscription(String, ORDERS, lambda message: self.obey(*message.data.split()), qos.EVENTS)
        self.create_timer(1.0 / rate, self._show)

    def obey(self, order: str, value: str = "") -> None:
        match order:
            case "size":
                width, height = map(int, value.split("x"))
                self._size = width, height
            case "pause" | "resume":
                self._paused = order == "pause"
            case "bad":
                self._bad = int(value)
            case "stamps":
                self._shift_s = int(value)
            case _:
                raise ValueError(f"no such order: {order!r}")

    def _show(self) -> None:
        if self._paused:
            return
        picture = cv2.resize(self._pictures[self._shown % len(self._pictures)], self._size)
        self._shown += 1
        stamp = self.get_clock().now().nanoseconds + self._shift_s * 10**9
        header = Header(frame_id="camera", stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9))
        raw = to_image(header, picture, "rgb8")
        jpeg = to_jpeg(picture)
        if self._bad:
            self._bad -= 1
            raw.height += 1  # more rows than there are bytes
            jpeg = jpeg[:100]
        compressed = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=array("B", jpeg))
        self._raw.publish(raw)
        self._compressed.publish(compressed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Publishes until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--height", type=int, required=True)
    asked = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    camera = SoakCamera(asked.rate, asked.width, asked.height)
    executor = SingleThreadedExecutor()
    executor.add_node(camera)
    try:
        while rclpy.ok():
            executor.spin_once(timeout_sec=_WAKE_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        camera.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])

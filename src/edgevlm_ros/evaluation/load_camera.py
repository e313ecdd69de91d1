# SPDX-License-Identifier: Apache-2.0
"""The camera of a load run as a process of its own: raw images at a steady pace, stamped by the clock."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Sequence

import cv2

from edgevlm_ros.assets import bag_path
from edgevlm_ros.evaluation.annotated_frames import annotated_frames
from edgevlm_ros.images import to_image
from edgevlm_ros.transfer.types import Image

_PICTURES = 60  # 53 MiB at 640x480


def pictures(width: int, height: int) -> list[Image]:
    """What the camera shows, over and over: frames from all over the bundled bag, in its order."""
    frames = annotated_frames(bag_path("demo"), _PICTURES, spread=True)
    return [cv2.resize(one.frame.image, (width, height), interpolation=cv2.INTER_AREA) for one in frames]


def main(arguments: Sequence[str] | None = None) -> None:
    """Publishes on `image` until it is interrupted. A picture that is late is shown late; none is caught up on."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import Image as ImageMsg
    from std_msgs.msg import Header

    from edgevlm_ros.nodes import qos

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--height", type=int, required=True)
    asked = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("camera")
    try:
        publisher = node.create_publisher(ImageMsg, "image", qos.NEWEST_IMAGE)
        header = Header(frame_id="camera")
        messages = [to_image(header, picture, "rgb8") for picture in pictures(asked.width, asked.height)]
        began, shown = time.monotonic(), 0
        while True:
            message = messages[shown % len(messages)]
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)
            shown = max(shown + 1, int((time.monotonic() - began) * asked.rate))
            time.sleep(max(began + shown / asked.rate - time.monotonic(), 0.0))
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()

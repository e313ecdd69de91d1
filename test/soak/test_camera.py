# SPDX-License-Identifier: Apache-2.0
"""The soak's camera: what it is ordered is what is published."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg
from std_msgs.msg import String

from edgevlm_ros.images import ImageError, to_rgb
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.conversions import to_nanoseconds
from soak.camera import ORDERS, SoakCamera


class Seen:
    """What somebody who listens got, newest last."""

    def __init__(self, ros: Any) -> None:
        self.ros = ros
        self.raw: list[ImageMsg] = []
        self.compressed: list[CompressedImage] = []
        node = ros.node()
        node.create_subscription(ImageMsg, "image", self.raw.append, qos.NEWEST_IMAGE)
        node.create_subscription(CompressedImage, "image/compressed", self.compressed.append, qos.NEWEST_IMAGE)
        self.orders = node.create_publisher(String, ORDERS, qos.EVENTS)
        assert ros.spin_until(lambda: self.raw and self.compressed and self.orders.get_subscription_count())

    def until(self, order: str, condition: Any) -> None:
        """Gives an order; something of what comes then is so."""
        self.orders.publish(String(data=order))
        assert self.ros.spin_until(lambda: condition(self.raw[-1], self.compressed[-1]))


@pytest.fixture
def seen(ros: Any) -> Seen:
    ros.add(SoakCamera(20.0, 64, 48, context=ros.context))
    return Seen(ros)


def _broken(message: Any) -> bool:
    try:
        to_rgb(message)
    except ImageError:
        return True
    return False


def test_raw_and_compressed_show_the_same_moment(seen: Seen) -> None:
    stamps = {to_nanoseconds(message.header.stamp) for message in seen.raw}
    assert seen.ros.spin_until(lambda: any(to_nanoseconds(one.header.stamp) in stamps for one in seen.compressed))
    assert to_rgb(seen.raw[-1]).shape == to_rgb(seen.compressed[-1]).shape == (48, 64, 3)


def test_size_and_stamps_change_while_it_runs(seen: Seen) -> None:
    seen.until("size 32x24", lambda raw, compressed: (raw.width, raw.height) == (32, 24))
    before = to_nanoseconds(seen.raw[-1].header.stamp)
    seen.until("stamps -30", lambda raw, compressed: to_nanoseconds(raw.header.stamp) < before - 20 * 10**9)


def test_broken_images_are_so_many_and_then_good_ones_follow(seen: Seen) -> None:
    seen.until("bad 10", lambda raw, compressed: _broken(raw) and _broken(compressed))
    assert seen.ros.spin_until(lambda: not _broken(seen.raw[-1]) and not _broken(seen.compressed[-1]))


def test_a_pause_shows_nothing_until_it_is_over(seen: Seen) -> None:
    seen.orders.publish(String(data="pause"))
    camera = next(node for node in seen.ros._nodes if isinstance(node, SoakCamera))
    assert seen.ros.spin_until(lambda: camera._paused)
    shown = camera._shown
    camera._show()
    assert camera._shown == shown
    count = len(seen.raw)
    seen.until("resume", lambda raw, compressed: len(seen.raw) > count + 1)


def test_an_order_that_is_none_is_told(seen: Seen) -> None:
    camera = next(node for node in seen.ros._nodes if isinstance(node, SoakCamera))
    with pytest.raises(ValueError, match="no such order"):
        camera.obey("jump")

# SPDX-License-Identifier: Apache-2.0
"""What ROS costs a frame can be measured here."""

import importlib.util

from edgevlm_ros.assets import bag_path
from edgevlm_ros.evaluation.message_cost import decode_image_ms, publish_ms


def test_decoding_and_publishing_take_some_time_and_not_much() -> None:
    assert 0.0 < decode_image_ms(bag_path("demo")) < 1000.0
    taken = publish_ms()
    assert (taken is None) == (importlib.util.find_spec("rclpy") is None)
    assert taken is None or 0.0 < taken < 1000.0

# SPDX-License-Identifier: Apache-2.0
"""What ROS costs a frame: a camera's message made pixels, and an answer made a message and published."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from edgevlm_ros.bags import BagReader
from edgevlm_ros.graph import free_domain
from edgevlm_ros.images import to_rgb
from edgevlm_ros.transfer.types import Answer, Question

_REPEATS = 50


def decode_image_ms(bag: Path) -> float:
    """Median time from an image message of a bag to RGB pixels."""
    with BagReader(bag) as reader:
        records = reader.records(topics=[reader.image_topic().name])
        messages = [reader.deserialize(record) for record, _ in zip(records, range(_REPEATS), strict=False)]
    messages.reverse()
    return _median_ms(lambda: to_rgb(messages.pop()), len(messages))


def publish_ms() -> float | None:
    """Median time of publishing an answer to a subscriber in the same process; None where there is no ROS."""
    try:
        import rclpy
        from std_msgs.msg import Header

        from edgevlm_msgs.msg import Answer as AnswerMsg
        from edgevlm_ros.nodes import qos
        from edgevlm_ros.nodes.conversions import to_answer_msg
    except ImportError:
        return None
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=free_domain())
    node = rclpy.create_node("bench", context=context)
    try:
        publisher = node.create_publisher(AnswerMsg, "answer", qos.EVENTS)
        node.create_subscription(AnswerMsg, "answer", lambda _: None, qos.EVENTS)
        answer = Answer(0, Question("Where is the person?"), "on the left, near the door", 0.9, 0.03, 0.02)
        return _median_ms(lambda: publisher.publish(to_answer_msg(answer, Header(), "bench", 0.03)), _REPEATS)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def _median_ms(do: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        do()
        taken.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(taken), 3)

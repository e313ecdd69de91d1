# SPDX-License-Identifier: Apache-2.0
"""The quality-of-service profiles of the graph, named once, and when a message was sent."""

import time
from collections.abc import Callable
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

NEWEST_IMAGE = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Camera images as sensor data: matches reliable and best-effort publishers, and an old frame is never waited for."""

EVENTS = QoSProfile(depth=10, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
"""Answers, contexts, focus, metrics."""

LATCHED = QoSProfile(
    depth=1,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""The standing question and camera_info: who comes late still gets the last one."""

REQUESTS = QoSProfile(depth=1000, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
"""Of services: with ROS's depth of 10 the oldest requests of who asks faster than the node answers are lost."""


def with_info(take: Callable[[Any, dict[str, int]], None]) -> Callable[..., None]:
    """A subscription's callback that is told when the message was sent; in Humble, whose rclpy does not say, heard."""
    if hasattr(Subscription, "CallbackType"):
        return take
    return lambda message: take(message, {"source_timestamp": time.time_ns()})

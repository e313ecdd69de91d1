# SPDX-License-Identifier: Apache-2.0
"""The quality-of-service profiles of the graph, named once."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

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

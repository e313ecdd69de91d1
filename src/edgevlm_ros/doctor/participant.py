# SPDX-License-Identifier: Apache-2.0
"""A node of the doctor's own, for as long as a check takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

DISCOVERY_S = 3.0
"""Seconds within which nodes of one network have found each other."""


class Participant:
    """node: to subscribe and to ask with. It hears something only while it waits."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self.node = node
        self._executor = executor

    def wait(self, until: Callable[[], object], seconds: float) -> bool:
        """Listen until it holds, for so long at most; whether it came to hold."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left, 0.1))
        return True


@contextmanager
def participant(namespace: str = "") -> Iterator[Participant]:
    """Takes part in ROS, in a context of its own."""
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node(
            "edgevlm_doctor",
            context=context,
            namespace=namespace,
            start_parameter_services=False,
            enable_rosout=False,
        )
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        yield Participant(node, executor)
        executor.shutdown()
        node.destroy_node()
    finally:
        context.try_shutdown()

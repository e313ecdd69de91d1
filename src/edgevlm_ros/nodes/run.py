# SPDX-License-Identifier: Apache-2.0
"""How each of our nodes starts and ends as a process."""

import sys
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from edgevlm_ros.nodes.parameters import ParameterError

BAD_START = 2
"""Exit code of a node that was started with something it cannot work with; its last line says what."""


class OwnNode(Protocol):
    """What run() needs of a node beside being a LifecycleNode."""

    @property
    def autostart(self) -> bool: ...

    def close(self) -> None:
        """Stops what the node has begun: threads, sockets, inference. Called once, when ROS may already be down."""


def run(create: Callable[[], LifecycleNode], args: list[str] | None = None) -> None:
    """Starts a node, spins it until it is told to stop, and ends it; exits with BAD_START for a bad parameter."""
    rclpy.init(args=args)
    try:
        node = create()
    except ParameterError as error:
        rclpy.try_shutdown()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_START)
    try:
        if node.autostart and not _started(node):
            sys.exit(BAD_START)
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()


def _started(node: LifecycleNode) -> bool:
    return (
        node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        and node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    )

# SPDX-License-Identifier: Apache-2.0
"""How each of our nodes starts and ends as a process.

rclpy's own signal handlers take ROS down first and ask questions later; a bridge could then not tell what became of the
keyframes that are under way. Here a signal ends the spinning, the node closes, and ROS goes last.
"""

import signal
import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from edgevlm_ros.nodes.camera_node import CameraNode
from edgevlm_ros.nodes.parameters import ParameterError

BAD_START = 2
"""Exit code of a node that was started with something it cannot work with; its last line says what."""

_WAKE_S = 0.2
"""Python handles a signal only between two waits of the executor."""


def run(create: Callable[[], CameraNode], args: list[str] | None = None) -> None:
    """Starts a node, spins it until it is told to stop, and ends it; exits with BAD_START for a bad parameter."""
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C too: a shell starts its background jobs deaf to it
        signal.signal(number, signal.default_int_handler)
    try:
        node = create()
    except ParameterError as error:
        rclpy.try_shutdown()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_START)
    try:
        if node.autostart and not _started(node):
            sys.exit(BAD_START)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok():
            executor.spin_once(timeout_sec=_WAKE_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not lose what close() still has to say
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()


def _started(node: CameraNode) -> bool:
    return (
        node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        and node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    )

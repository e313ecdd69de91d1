# SPDX-License-Identifier: Apache-2.0
"""How each of our nodes starts and ends as a process.

rclpy's own signal handlers take ROS down first and ask questions later; a bridge could then not tell what became of the
keyframes that are under way. Here a signal ends the spinning, the node closes, and ROS goes last.
"""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from edgevlm_ros.nodes.camera_node import CameraNode
from edgevlm_ros.nodes.executor import NodeExecutor
from edgevlm_ros.nodes.parameters import ParameterError

BAD_START = 2
"""Exit code of a node that was started with something it cannot work with; its last line says what."""

_WAKE_S = 0.2
"""Python handles a signal only between two waits of the executor."""

_LAST_WORDS_S = 2.0


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
    executor = NodeExecutor()
    try:
        if not _started(node) and not node.resumed:
            sys.exit(BAD_START)
        executor.add_node(node)
        while rclpy.ok():
            executor.spin_once(timeout_sec=_WAKE_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not lose what close() still has to say
        node.close()
        _last_words(node, executor)
        node.destroy_node()
        rclpy.try_shutdown()


def _started(node: CameraNode) -> bool:
    """Brings the node to its first state; whether it came there."""
    success = TransitionCallbackReturn.SUCCESS
    if node.first_state == "unconfigured":
        return True
    return node.trigger_configure() == success and (
        node.first_state == "inactive" or node.trigger_activate() == success
    )


def _last_words(node: CameraNode, executor: NodeExecutor) -> None:
    """Lets results that close() has left on their way reach their clients: a timer of the node waits for each."""
    end = time.monotonic() + _LAST_WORDS_S
    while any(True for _ in node.timers) and time.monotonic() < end and rclpy.ok():
        with suppress(ExternalShutdownException):
            executor.spin_once(timeout_sec=0.05)

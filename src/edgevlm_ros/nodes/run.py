# SPDX-License-Identifier: Apache-2.0
"""How each of our nodes starts and ends as a process.

rclpy's own signal handlers take ROS down first and ask questions later; a bridge could then not tell what became of the
keyframes that are under way. Here a signal ends the spinning, the node closes, and ROS goes last.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from edgevlm_ros.bag_types import BagError
from edgevlm_ros.nodes.camera_node import CameraNode
from edgevlm_ros.nodes.executor import NodeExecutor
from edgevlm_ros.nodes.parameters import ParameterError
from edgevlm_ros.program import BAD_INPUT, FAILED
from edgevlm_ros.stop_signal import StopSignal

BAD_START = BAD_INPUT
"""Exit code of a node that was started with something it cannot work with; its last line says what. Starting it again
does not help: a launch that respawns its nodes ends."""

WAKE_S = 0.2
"""Python handles a signal only between two waits of the executor."""

_LAST_WORDS_S = 2.0


def run_process(work: Callable[[StopSignal], int], args: list[str] | None) -> None:
    """Exits with what `work` returns while ROS is up, with 0 after a signal, and with BAD_START for a bad parameter or
    bag. work: gets the signals, which raise from there on if it says so."""
    code = 0
    stop = StopSignal(raises=False)
    try:
        _init(args)
        code = work(stop)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ParameterError, BagError) as error:
        code = BAD_START
        print(f"error: {error}", file=sys.stderr)
    stop.raises = False
    rclpy.try_shutdown()
    stop.ignore()
    sys.exit(code)


def _init(args: list[str] | None) -> None:
    """Raises ParameterError for a parameter file or option that ROS cannot read."""
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # rclpy's class for it has no public name
        _, known, reason = str(error).partition("Couldn't parse ")
        if not known:
            raise
        raise ParameterError(f"{known}{' '.join(reason.partition(', at /')[0].split())}") from None


def run(create: Callable[[], CameraNode], args: list[str] | None = None) -> None:
    """Starts a node, spins it until it is told to stop, and ends it."""
    run_process(partial(_run_camera_node, create), args)


def _run_camera_node(create: Callable[[], CameraNode], stop: StopSignal) -> int:
    node = create()
    executor = NodeExecutor()
    try:
        executor.add_node(node)
        configured = node.configure() if node.first_state != "unconfigured" else None
        if configured is not None:
            configured.add_done_callback(lambda _: executor.wake())
        while rclpy.ok() and not stop.came:
            executor.spin_once(timeout_sec=WAKE_S)
            if configured is not None and configured.done():
                success = configured.result() and (node.first_state == "inactive" or _activated(node))
                if not success and not node.resumed:
                    return FAILED if node.may_start_later else BAD_START
                configured = None
    finally:
        if node.configuring:
            _leave(node)
        node.close()
        _last_words(node, executor)
        node.destroy_node()
    return 0


def _activated(node: CameraNode) -> bool:
    with suppress(RuntimeError):
        return bool(node.trigger_activate() == TransitionCallbackReturn.SUCCESS)
    return True  # somebody was faster


def _leave(node: CameraNode) -> NoReturn:
    """Ends the process in the middle of loading, which nothing can interrupt: there is nothing to close yet, and a
    thread in native code does not survive Python's orderly end."""
    node.destroy_node()
    rclpy.try_shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _last_words(node: CameraNode, executor: NodeExecutor) -> None:
    """Lets results that close() has left on their way reach their clients: a timer of the node waits for each."""
    end = time.monotonic() + _LAST_WORDS_S
    while any(True for _ in node.timers) and time.monotonic() < end and rclpy.ok():
        with suppress(ExternalShutdownException):
            executor.spin_once(timeout_sec=0.05)

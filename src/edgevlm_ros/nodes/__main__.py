# SPDX-License-Identifier: Apache-2.0
"""The nodes as processes: the scripts that `ros2 run` starts, and `python -m edgevlm_ros.nodes NODE --ros-args ...`.

A node imports for seconds. Signals are handled before that, and malloc is set up before numpy and torch have threads.
"""

import importlib
import sys

from edgevlm_ros.nodes.memory import limit_arenas
from edgevlm_ros.stop_signal import exit_while_importing


def _run(node: str) -> None:
    exit_while_importing()
    limit_arenas()
    importlib.import_module(f"edgevlm_ros.nodes.{node}").main()


def edge_node() -> None:
    _run("edge_node")


def cloud_bridge_node() -> None:
    _run("cloud_bridge_node")


def bag_player_node() -> None:
    _run("bag_player_node")


def recorder_node() -> None:
    _run("recorder_node")


if __name__ == "__main__":
    _run(sys.argv.pop(1))

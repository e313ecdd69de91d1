# SPDX-License-Identifier: Apache-2.0
"""How a node's process ends: nobody who waits for it is left waiting."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from rclpy.action import ActionClient

from conftest import TIMEOUT, Process
from edgevlm_msgs.action import Ask
from edgevlm_msgs.msg import Question
from edgevlm_ros.bags import BagReader
from edgevlm_ros.nodes import qos
from support.edge_robot import Side

SIGNALS = (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT)
"""As Ctrl-C of a launch gives them: by the terminal, by launch, and by who loses patience."""
NODES = ("edge_node", "cloud_bridge_node", "bag_player_node", "recorder_node")


def wait_for(condition: Callable[[], bool], process: Process) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert process.popen.poll() is None, process.output
        assert time.monotonic() < end, process.output
        time.sleep(0.001)


def handles_signals(process: Process) -> bool:
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def has_loaded(process: Process, library: str) -> bool:
    return library in Path(f"/proc/{process.popen.pid}/maps").read_text()


def test_ctrl_c_gives_who_waits_for_an_answer_a_result(ros: Any, tiny_model: Path) -> None:
    process = ros.run_node("edge_node", model=tiny_model, question="what?", threads=1, max_new_tokens=4)
    node = ros.node()
    side = Side(ros, node)
    for_cloud: list[Question] = []
    node.create_subscription(Question, "question/once", for_cloud.append, qos.EVENTS)
    client = ActionClient(node, Ask, "ask")
    assert ros.spin_until(lambda: side.connected and client.server_is_ready()), process.output
    assert ros.spin_until(lambda: side.film(time.time()) or side.answers), process.output
    accepted = client.send_goal_async(Ask.Goal(question="what is ahead?", wait_for_cloud=True, deadline=600.0))
    assert ros.spin_until(accepted.done)
    result = accepted.result().get_result_async()
    assert ros.spin_until(lambda: for_cloud), process.output
    for number in SIGNALS:
        process.popen.send_signal(number)
    assert ros.spin_until(result.done), process.output
    assert result.result().result.error_code == Ask.Result.ERROR_CANCELED
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize("library", ["", "_rclpy_pybind11"], ids=["at once", "while it imports"])
@pytest.mark.parametrize("node", NODES)
def test_a_node_that_still_imports_ends_well_and_says_nothing(ros: Any, node: str, library: str) -> None:
    process = ros.run_node(node)
    wait_for(lambda: handles_signals(process), process)
    wait_for(lambda: has_loaded(process, library), process)
    for number in SIGNALS:
        process.popen.send_signal(number)
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output


def test_a_recorder_closes_its_bag_however_many_signals_come(ros: Any, tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(6)]
    processes = [ros.run_node("recorder_node", folder=folder, min_free=0.0) for folder in folders]
    for number, (folder, process) in enumerate(zip(folders, processes, strict=True)):
        wait_for(lambda process=process: "recording into" in process.output, process)
        while process.popen.poll() is None:  # in whatever it is in the middle of, to its last moment
            process.popen.send_signal(SIGNALS[number % len(SIGNALS)])
            time.sleep(0.001 * (number + 1))
        assert process.wait() == 0, process.output
        assert "Traceback" not in process.output
        assert (folder / "bag" / "metadata.yaml").exists()
        with BagReader(folder / "bag") as bag:
            assert not bag.unfinished

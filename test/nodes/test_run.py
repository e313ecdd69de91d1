# SPDX-License-Identifier: Apache-2.0
"""How a node's process ends: nobody who waits for it is left waiting."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from rclpy.action import ActionClient

from edgevlm_msgs.action import Ask
from edgevlm_msgs.msg import Question
from edgevlm_ros.nodes import qos
from support.edge_robot import Side


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
    process.popen.send_signal(2)
    assert ros.spin_until(result.done), process.output
    assert result.result().result.error_code == Ask.Result.ERROR_CANCELED
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output

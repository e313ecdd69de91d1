# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from diagnostic_msgs.msg import DiagnosticStatus

from edgevlm_msgs.msg import Metrics
from edgevlm_ros.nodes.camera import Camera, checked_question, percentile, status_name
from edgevlm_ros.nodes.parameters import ParameterError
from edgevlm_ros.transfer.types import Question


def camera(ros: Any, name: str) -> Camera:
    health = DiagnosticStatus.OK, "answering"
    return Camera(ros.node(), name, lambda *_: None, lambda _: None, lambda: (Metrics(), {"more": "1"}, health))


def test_a_camera_without_a_question_says_so(ros: Any) -> None:
    front = camera(ros, "front")
    status = front.report("node")
    assert (status.name, status.message[:15]) == ("node: front", "no question yet")
    assert status.hardware_id == socket.gethostname()
    front.stand(Question("what?"))
    status = front.report("node")
    assert (status.level, status.message) == (DiagnosticStatus.OK, "answering")
    assert {"question": "what?", "more": "1"}.items() <= {v.key: v.value for v in status.values}.items()


def test_the_same_trouble_is_said_once_a_minute_however_its_numbers_grow(
    ros: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    only = camera(ros, "")
    for second in range(130):
        only._say(f"no image for {second / 2} s", 1000.0 + second)
    only._say("another trouble", 1130.0)
    said = capfd.readouterr().err
    assert said.count("no image") == 3
    assert said.count("another trouble") == 1


@pytest.mark.parametrize("text", ["", " \n\t", "x" * 2001, "why? " * 20_000])
def test_a_text_that_is_no_question_is_refused_with_its_length(text: str) -> None:
    with pytest.raises(ParameterError, match=f"1 to 2000 characters, not {len(text.strip())}"):
        checked_question(text)


def test_percentiles_of_nothing_are_nothing() -> None:
    assert percentile([], 0.95) == 0.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0


def test_two_robots_have_diagnostics_of_two_names(ros: Any) -> None:
    assert status_name(ros.node("edge_node")) == "edge_node"
    assert status_name(ros.node("edge_node", namespace="robot1")) == "robot1/edge_node"

# SPDX-License-Identifier: Apache-2.0
"""Several cameras on one edge node: one set of weights, frames in turn, and nothing of one camera shows in another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from support.edge_robot import CONFIGURE, QUESTION, EdgeRobot


@pytest.fixture
def robot(ros: Any, tiny_model: Path) -> EdgeRobot:
    return EdgeRobot(ros, tiny_model, cameras=["front", "rear"])


def test_each_camera_is_answered_on_its_own_topics_by_one_set_of_weights(robot: EdgeRobot) -> None:
    front, rear = robot.sides["front"], robot.sides["rear"]
    assert front.see(1.0).header.stamp.sec == 1
    assert rear.see(2.0).header.stamp.sec == 2
    assert {answer.header.stamp.sec for answer in front.answers} == {1}
    assert {answer.header.stamp.sec for answer in rear.answers} == {2}
    assert len({id(camera.pipeline.engine) for camera in robot.edge._cameras}) == 1


def test_questions_stand_for_one_camera_and_the_parameter_for_all(robot: EdgeRobot) -> None:
    front, rear = robot.sides["front"], robot.sides["rear"]
    assert front.ask("what is ahead?").success
    assert [front.see(1.0).question, rear.see(1.0).question] == ["what is ahead?", QUESTION]
    assert robot.set("question", "who is it?").successful
    assert [front.see(2.0).question, rear.see(2.0).question] == ["who is it?"] * 2
    robot.until(lambda: front.questions[-1].text == rear.questions[-1].text == "who is it?")


def test_what_the_cloud_says_of_one_camera_is_not_told_of_another(robot: EdgeRobot) -> None:
    front, rear = robot.sides["front"], robot.sides["rear"]
    front.see(1.0)
    rear.see(1.0)
    front.tell(1.0, "on the left")
    robot.until(lambda: front.metrics and front.metrics[-1].contexts_applied)
    assert any(front.see(2.0 + step / 100).context_used for step in range(40))
    assert not rear.see(3.0).context_used
    robot.until(lambda: rear.metrics)
    assert rear.metrics[-1].contexts_applied == 0


def test_a_fast_camera_leaves_a_slow_one_its_turn(robot: EdgeRobot) -> None:
    front, rear = robot.sides["front"], robot.sides["rear"]
    front.see(1.0)
    rear.see(1.0)
    del front.answers[:], rear.answers[:]
    filmed = 0

    def film() -> bool:
        nonlocal filmed
        filmed += 1
        for step in range(5):
            front.film(2.0 + filmed * 0.05 + step * 0.01)
        rear.film(2.0 + filmed * 0.05)
        robot.spin(0.02)
        return len(front.answers) >= 12

    robot.until(film)
    assert len(rear.answers) >= len(front.answers) / 2


def test_metrics_and_diagnostics_tell_which_camera_they_are_about(robot: EdgeRobot) -> None:
    front = robot.sides["front"]
    front.see(1.0)
    robot.until(lambda: front.metrics and front.metrics[-1].frames_answered)
    assert (front.metrics[-1].node, front.metrics[-1].camera) == ("edge_node", "front")
    rear = robot.sides["rear"]
    robot.until(lambda: robot.status("edge_node: front") and robot.status("edge_node: rear") and rear.metrics)
    assert rear.metrics[-1].camera == "rear"
    assert rear.metrics[-1].frames_answered == 0


@pytest.mark.parametrize(
    ("cameras", "fault"), [(["front", "front"], "front twice"), (["/front"], "without a slash"), (["a b"], "'a b'")]
)
def test_names_that_cannot_stand_before_a_topic_are_refused(
    ros: Any, tiny_model: Path, cameras: list[str], fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    robot = EdgeRobot(ros, tiny_model, start=False)
    assert robot.set("cameras", cameras).successful
    assert robot.edge.trigger_configure().name == "FAILURE"
    assert fault in capfd.readouterr().err
    assert robot.set("cameras", ["front"]).successful
    assert robot.change(CONFIGURE)

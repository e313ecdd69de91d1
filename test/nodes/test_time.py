# SPDX-License-Identifier: Apache-2.0
"""The edge node in wall and simulated time: streams that loop, pause and jump back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from rosgraph_msgs.msg import Clock

from edgevlm_ros.nodes import qos
from support.edge_robot import EdgeRobot, header_at


class Simulation(EdgeRobot):
    """A robot whose time comes from /clock."""

    def __init__(self, ros: Any, model: Path) -> None:
        super().__init__(ros, model, use_sim_time=True)
        self._clock = self.node.create_publisher(Clock, "/clock", qos.EVENTS)
        self.until(lambda: self._clock.get_subscription_count())

    def tick(self, second: float) -> None:
        """It is that second now, and the node knows it."""
        self._clock.publish(Clock(clock=header_at(second).stamp))
        self.until(lambda: abs(self.edge.get_clock().now().nanoseconds * 1e-9 - second) < 1e-3)

    def told(self, count: int) -> None:
        """So many contexts have been taken in."""
        self.until(lambda: self.side.metrics and self.side.metrics[-1].contexts_applied == count)

    def ignored(self, count: int) -> None:
        self.until(lambda: self.side.metrics and self.side.metrics[-1].contexts_ignored == count)

    def used_from(self, second: float) -> bool:
        """Whether a frame of the next seconds is answered in context."""
        return any(self.side.see(second + step / 10).context_used for step in range(20))


@pytest.fixture
def robot(ros: Any, tiny_model: Path) -> Simulation:
    return Simulation(ros, tiny_model)


def test_a_bag_that_loops_starts_without_what_was_said_of_its_last_round(robot: Simulation) -> None:
    robot.tick(9.0)
    robot.side.see(9.0)
    robot.side.tell(9.0, "on the left")
    robot.told(1)
    assert robot.used_from(9.1)
    robot.tick(0.5)
    assert not robot.side.see(0.5).context_used
    assert not robot.side.see(9.2).context_used


def test_a_reply_about_the_last_round_of_a_bag_does_not_keep_out_those_about_this_one(robot: Simulation) -> None:
    robot.tick(3.0)
    robot.side.see(3.0)
    robot.side.see(9.0)
    robot.side.see(0.5)
    robot.side.tell(9.0, "on the left", delay=2.0)
    robot.side.tell(3.0, "on the left", delay=30.0)
    robot.ignored(2)
    robot.side.tell(0.5, "on the right")
    robot.told(1)
    assert robot.used_from(0.6)


def test_a_clock_that_is_set_back_a_little_is_another_time_too(robot: Simulation) -> None:
    robot.tick(5.0)
    robot.side.see(5.0)
    robot.side.tell(5.0, "on the left")
    robot.told(1)
    assert robot.used_from(5.1)
    second = robot.side.answers[-1].header.stamp.sec + robot.side.answers[-1].header.stamp.nanosec * 1e-9
    robot.tick(second)
    robot.tick(second - 0.5)
    assert not any(robot.side.see(second - 0.4 + step / 10).context_used for step in range(8))


def test_a_paused_bag_is_waited_for_and_delays_are_those_of_a_steady_clock(robot: Simulation) -> None:
    robot.tick(100.0)
    before = time.monotonic()
    answer = robot.side.see(100.0)
    assert 0.0 < answer.inference_time <= answer.frame_age <= time.monotonic() - before
    count = len(robot.side.metrics)
    robot.until(lambda: len(robot.side.metrics) > count + 1)
    assert robot.side.metrics[-1].header.stamp.sec == 100
    robot.tick(101.0)
    assert robot.side.see(101.0).text
    assert robot.side.metrics[-1].stamp_age == pytest.approx(0.0, abs=1e-3)


def test_in_wall_time_the_age_of_a_stamp_is_told(ros: Any, tiny_model: Path) -> None:
    robot = EdgeRobot(ros, tiny_model)
    robot.side.see(time.time() - 2.0)
    robot.until(lambda: robot.side.metrics and robot.side.metrics[-1].frames_answered)
    assert 2.0 <= robot.side.metrics[-1].stamp_age < 60.0

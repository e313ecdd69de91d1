# SPDX-License-Identifier: Apache-2.0
"""Our nodes' states, asked of real lifecycle nodes."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from rclpy.lifecycle import LifecycleNode

from conftest import Ros
from edgevlm_ros.doctor import lifecycles


def test_states_are_asked_for_below_the_namespace_alone(ros: Ros) -> None:
    waiting = ros.add(LifecycleNode("edge_node", namespace="/robot/front", context=ros.context))
    active = ros.add(LifecycleNode("cloud_bridge_node", namespace="/robot", context=ros.context))
    ros.add(LifecycleNode("edge_node", namespace="/robot2", context=ros.context))
    active.trigger_configure()
    active.trigger_activate()
    assert waiting is not active
    done = threading.Event()
    spinning = threading.Thread(target=ros.spin_until, args=(done.is_set,))
    spinning.start()
    try:
        for _ in range(5):  # a busy machine may let it meet nobody within the time that people are kept waiting
            edge, bridge = lifecycles.check("robot")
            if "is unconfigured" in edge.found and "is active" in bridge.found:
                break
    finally:
        done.set()
        spinning.join()
    assert edge.level == "warn"
    assert edge.fix == "ros2 lifecycle set /robot/front/edge_node configure"
    assert bridge.level == "ok"
    assert "/robot/cloud_bridge_node is active" in bridge.found


def test_nobody_running_is_fine(ros: Ros) -> None:
    assert [finding.level for finding in lifecycles.check()] == ["ok", "ok"]


def test_a_node_that_does_not_answer_fails_and_one_that_ended_is_to_look_at() -> None:
    assert lifecycles.lives("/edge_node", None).level == "fail"
    assert lifecycles.lives("/edge_node", "finalized").level == "warn"

# SPDX-License-Identifier: Apache-2.0
"""The observer beside real nodes: what it knows of them is what they said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from builtin_interfaces.msg import Time
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header

from edgevlm_msgs.msg import Answer, CloudContext, Metrics
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.observer import Observer


@pytest.fixture
def observer(ros: Any) -> Iterator[Observer]:
    observer = Observer(context=ros.context)
    yield observer
    observer.close()


def heard(observer: Observer, condition: Any) -> bool:
    for _ in range(900):
        if condition():
            return True
        observer.spin(0.1)
    return False


def test_answers_replies_and_time_are_followed(ros: Any, observer: Observer) -> None:
    node = ros.node()
    answers = node.create_publisher(Answer, "answer", qos.EVENTS)
    contexts = node.create_publisher(CloudContext, "context", qos.EVENTS)
    metrics = node.create_publisher(Metrics, "metrics", qos.EVENTS)
    assert heard(observer, lambda: all(topic.get_subscription_count() for topic in (answers, contexts, metrics)))
    answers.publish(Answer(header=Header(stamp=Time(sec=5)), text="left"))
    contexts.publish(CloudContext(status=CloudContext.STATUS_OK))
    contexts.publish(CloudContext(status=CloudContext.STATUS_TIMEOUT))
    metrics.publish(Metrics(header=Header(stamp=Time(sec=6))))
    assert heard(observer, lambda: observer.answers and observer.replies.total() == 2 and observer.stamp == 6 * 10**9)
    assert observer.answer is not None
    assert observer.answer.text == "left"
    assert observer.replies == {"ok": 1, "failed": 1}


def test_a_node_tells_its_parameters(ros: Any, observer: Observer, tmp_path: Path) -> None:
    ros.run_node("recorder_node", folder=str(tmp_path), overlay=False)
    assert observer.parameters("recorder_node").items() >= {"folder": str(tmp_path), "overlay": False}.items()


def test_a_node_that_is_not_there_is_not_active(observer: Observer) -> None:
    assert not observer.is_active("nobody")


def test_after_a_bag_its_clock_runs_on(ros: Any, observer: Observer) -> None:
    ticks: list[int] = []
    ros.node().create_subscription(Clock, "/clock", lambda message: ticks.append(message.clock.sec), 100)
    for _ in range(5):  # it does not wait for who listens, and that somebody hears its clock takes a moment
        observer.let_time_pass(100 * 10**9, rate=4.0, seconds=1.0)
        if ros.spin_until(lambda: ticks and ticks[-1] >= 103, timeout=5.0):
            break
        ticks.clear()
    assert ticks
    assert ticks == sorted(ticks)

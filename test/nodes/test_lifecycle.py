# SPDX-License-Identifier: Apache-2.0
"""The edge node's lifecycle: quiet within a token, memory that comes back, and no state without a way out."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState

from conftest import TIMEOUT
from edgevlm_ros.nodes import edge_node
from edgevlm_ros.nodes.edge_camera import EdgeCamera
from support.edge_robot import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, EdgeRobot


def fails_once(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The next call of that method of a camera raises."""
    real, calls = getattr(EdgeCamera, method), []

    def failing(camera: EdgeCamera, *args: object) -> object:
        calls.append(args)
        if len(calls) == 1:
            raise RuntimeError("no such luck")
        return real(camera, *args)

    monkeypatch.setattr(EdgeCamera, method, failing)


def test_deactivating_ends_an_answer_within_a_token_and_nothing_is_published_after_it(
    ros: Any, tiny_model: Path
) -> None:
    robot = EdgeRobot(ros, tiny_model, max_new_tokens=512, question="what is it?")
    whole = robot.side.see(1.0).inference_time
    (camera,) = robot.edge._cameras
    seen = camera._counters.seen
    robot.until(lambda: robot.side.film(2.0) or camera._counters.seen > seen)
    assert robot.edge.trigger_deactivate().name == "SUCCESS"
    count = len(robot.side.answers)
    robot.spin(2.0 * whole)
    # an answer to the first frame, if that was shown twice, may have been on its way
    assert {answer.header.stamp.sec for answer in robot.side.answers[count:]} <= {1}
    assert robot.change(ACTIVATE)
    robot.meet()
    assert robot.side.see(3.0).header.stamp.sec == 3


def test_deactivating_keeps_the_weights_and_the_question(ros: Any, tiny_model: Path) -> None:
    robot = EdgeRobot(ros, tiny_model)
    robot.side.ask("what is ahead?")
    engine = robot.edge._engine
    assert robot.change(DEACTIVATE)
    robot.until(lambda: not robot.side.camera.get_subscription_count())
    assert robot.change(ACTIVATE)
    robot.meet()
    assert robot.edge._engine is engine
    assert robot.side.see(1.0).question == "what is ahead?"


def test_a_wrong_model_leaves_a_node_that_can_be_given_the_right_one(ros: Any, tiny_model: Path) -> None:
    robot = EdgeRobot(ros, "no_such_model", start=False)
    assert not robot.change(CONFIGURE)
    assert robot.state == "unconfigured"
    assert robot.set("model", str(tiny_model)).successful
    assert robot.change(CONFIGURE)
    assert robot.change(ACTIVATE)
    robot.meet()
    assert robot.side.see(1.0).text


def test_an_activation_that_fails_leaves_the_node_inactive_with_its_weights(
    ros: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = EdgeRobot(ros, tiny_model, start=False)
    assert robot.change(CONFIGURE)
    fails_once(monkeypatch, "begin")
    assert not robot.change(ACTIVATE)
    assert robot.state == "inactive"
    assert robot.edge._engine is not None
    assert robot.change(ACTIVATE)
    robot.meet()
    assert robot.side.see(1.0).text


def test_services_parameters_and_diagnostics_are_served_while_the_model_loads(
    ros: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, load = threading.Event(), edge_node.warm_model
    monkeypatch.setattr(edge_node, "warm_model", lambda *args: may_end.wait(TIMEOUT) and load(*args))
    robot = EdgeRobot(ros, tiny_model, start=False)
    client = robot.node.create_client(ChangeState, "/edge_node/change_state")
    robot.until(client.service_is_ready)
    configured = client.call_async(ChangeState.Request(transition=Transition(id=CONFIGURE)))
    robot.until(lambda: robot.edge.configuring)
    assert robot.state == "configuring"
    assert not robot.change(CONFIGURE)
    assert not robot.set("model", "another").successful
    robot.until(lambda: robot.status())
    assert not configured.done()
    may_end.set()
    robot.until(configured.done)
    assert configured.result().success
    assert robot.change(ACTIVATE)
    robot.meet()
    assert robot.side.see(1.0).text


@pytest.mark.parametrize("method", ["close", "release"])
def test_an_error_on_the_way_down_leads_to_unconfigured_and_up_again(
    ros: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    robot = EdgeRobot(ros, tiny_model)
    fails_once(monkeypatch, method)
    down = [robot.change(DEACTIVATE), robot.state == "inactive" and robot.change(CLEANUP)]
    assert not all(down)
    assert robot.state == "unconfigured"
    assert robot.change(CONFIGURE)
    assert robot.change(ACTIVATE)
    robot.meet()
    assert robot.side.see(1.0).text


@pytest.mark.parametrize(
    ("before", "shutdown"),
    [
        ([], Transition.TRANSITION_UNCONFIGURED_SHUTDOWN),
        ([CONFIGURE], Transition.TRANSITION_INACTIVE_SHUTDOWN),
        ([CONFIGURE, ACTIVATE], Transition.TRANSITION_ACTIVE_SHUTDOWN),
    ],
)
def test_the_node_can_be_shut_down_from_any_state(ros: Any, tiny_model: Path, before: list[int], shutdown: int) -> None:
    robot = EdgeRobot(ros, tiny_model, start=False)
    assert all(robot.change(transition) for transition in before)
    assert robot.change(shutdown)
    assert robot.state == "finalized"
    assert robot.edge._engine is None
    robot.until(lambda: robot.node.count_publishers("answer") == 0)


def test_a_transition_that_is_not_possible_now_is_refused_and_does_not_end_the_node(ros: Any, tiny_model: Path) -> None:
    robot = EdgeRobot(ros, tiny_model)
    assert not robot.change(ACTIVATE)
    assert robot.state == "active"
    assert robot.side.see(1.0).text


def test_every_one_of_many_requests_at_once_has_a_response(ros: Any, tiny_model: Path) -> None:
    robot = EdgeRobot(ros, tiny_model, start=False)
    transitions = robot.node.create_client(ChangeState, "/edge_node/change_state")
    states = robot.node.create_client(GetState, "/edge_node/get_state")
    robot.until(lambda: transitions.service_is_ready() and states.service_is_ready())
    refused = ChangeState.Request(transition=Transition(id=ACTIVATE))
    futures = [transitions.call_async(refused) for _ in range(200)]
    futures += [states.call_async(GetState.Request()) for _ in range(200)]
    robot.until(lambda: all(future.done() for future in futures))
    assert not any(future.result().success for future in futures[:200])


def test_cleanup_gives_the_memory_back(ros: Any, tiny_model: Path) -> None:
    process = ros.run_node("edge_node", model=tiny_model, autostart=False, question="what?", threads=1)
    node = ros.node()
    client = node.create_client(ChangeState, "/edge_node/change_state")
    assert ros.spin_until(client.service_is_ready)

    def change(transition: int) -> None:
        future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        assert ros.spin_until(future.done), process.output
        assert future.result().success, process.output

    def held() -> int:
        """Kilobytes of its own: the pages of the libraries that it used are the kernel's to drop."""
        status = Path(f"/proc/{process.popen.pid}/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0])

    before = held()
    after = []
    for _ in range(3):
        for transition in (CONFIGURE, ACTIVATE, DEACTIVATE, CLEANUP):
            change(transition)
        after.append(held())
    assert min(after) < 1.15 * before, (before, after)  # and what is set up once stays
    assert after[-1] < 1.05 * after[0], (before, after)


def test_nothing_of_a_model_is_alive_after_cleanup(ros: Any, tiny_model: Path) -> None:
    robot = EdgeRobot(ros, tiny_model)
    robot.side.see(1.0)
    assert robot.edge._engine is not None
    engine = weakref.ref(robot.edge._engine)
    assert robot.change(DEACTIVATE)
    assert robot.change(CLEANUP)
    assert engine() is None

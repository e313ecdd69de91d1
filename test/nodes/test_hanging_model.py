# SPDX-License-Identifier: Apache-2.0
"""The real edge node, as its own process, with a model that really hangs: it comes back by itself, as it was."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.edge_node import EdgeNode
from edgevlm_ros.nodes.resumption import Carried
from support.edge_robot import Side

DRIVER = Path(__file__).parents[1] / "support" / "hanging_edge_node.py"
WATCHDOG = 5.0  # seconds for which a busy machine may keep a model that is well from its next token


class Robot:
    """A camera before an edge node whose model hangs when it is told to."""

    def __init__(self, ros: Any, model: Path, trigger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HANG_AT", str(trigger))
        self.ros, self.trigger = ros, trigger
        self.node = ros.node()
        self.side = Side(ros, self.node)
        self.diagnostics: list[DiagnosticStatus] = []
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnosed, qos.EVENTS)
        values = {"model": f"'{model}'", "watchdog": WATCHDOG, "threads": 1, "max_new_tokens": 4, "question": "what?"}
        # the new process has not seen the keyframe, and on a busy machine many frames pass until it is there
        values |= {"replacement.min_similarity": 0.0, "replacement.max_context_age": 600.0}
        words = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
        self.process = ros.run(sys.executable, str(DRIVER), "--ros-args", *words)
        self.until(lambda: self.side.connected)

    def _diagnosed(self, message: DiagnosticArray) -> None:
        self.diagnostics.extend(message.status)

    def until(self, condition: Callable[[], object]) -> None:
        assert self.ros.spin_until(condition), self.process.output
        assert self.process.popen.poll() is None, self.process.output

    def answered(self, second: float) -> Any:
        """Shows frames until one that is at least that new is answered."""
        now = [second]

        def seen() -> bool:
            now[0] += 0.1
            self.side.film(now[0])
            self.ros.spin_until(lambda: False, timeout=0.05)
            return bool(self.side.answers) and self.side.answers[-1].header.stamp.sec >= second

        self.until(seen)
        return self.side.answers[-1]

    def hang(self, second: float) -> None:
        """Shows frames until the model hangs and the diagnostics say so."""
        count = len(self.diagnostics)
        self.trigger.touch()

        def told() -> bool:
            self.side.film(second)
            self.ros.spin_until(lambda: False, timeout=0.05)
            return any("the model hangs" in status.message for status in self.diagnostics[count:])

        self.until(told)
        status = next(status for status in self.diagnostics[count:] if "the model hangs" in status.message)
        assert status.level == DiagnosticStatus.ERROR
        assert "blocking" in status.message

    def call(self, kind: Any, service: str, request: Any) -> Any:
        client = self.node.create_client(kind, f"/edge_node/{service}")
        self.until(client.service_is_ready)
        for _ in range(30):  # a process that was replaced is in the graph for a while, and its service hears nothing
            future = client.call_async(request)
            if self.ros.spin_until(future.done, timeout=3.0):
                return future.result()
        raise AssertionError(f"no answer of {service}: {self.process.output}")


@pytest.fixture
def robot(ros: Any, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Robot:
    return Robot(ros, tiny_model, tmp_path / "hang", monkeypatch)


def test_a_model_that_hangs_is_replaced_and_goes_on_with_its_question_context_and_parameters(robot: Robot) -> None:
    robot.answered(1.0)
    pid = robot.process.popen.pid
    assert robot.side.ask("what is ahead?").success
    changed = SetParameters.Request(parameters=[Parameter("focus.half_life", value=77.0).to_parameter_msg()])
    assert robot.call(SetParameters, "set_parameters", changed).results[0].successful
    robot.answered(2.0)
    robot.side.tell(1.5, "a person on the left", question="what is ahead?")
    robot.until(lambda: robot.answered(3.0).context_used)
    robot.side.answers.clear()
    robot.hang(4.0)
    robot.until(lambda: robot.answered(5.0).context_used)
    assert {answer.question for answer in robot.side.answers} == {"what is ahead?"}
    assert robot.process.popen.pid == pid
    assert Path(f"/proc/{pid}").exists()
    assert "a new process in place of one that hung, to be active" in robot.process.output
    assert "Traceback" not in robot.process.output
    robot.until(lambda: any(("hangs", "1") in pairs(status) for status in robot.diagnostics))


def test_a_model_that_hangs_a_third_time_ends_unconfigured_and_can_be_configured(
    ros: Any, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUNG_BEFORE", "2")
    robot = Robot(ros, tiny_model, tmp_path / "hang", monkeypatch)
    robot.answered(1.0)
    robot.hang(2.0)
    robot.until(lambda: "one that hung, to be unconfigured" in robot.process.output)
    assert any("stays unconfigured" in status.message for status in robot.diagnostics)
    assert robot.call(GetState, "get_state", GetState.Request()).current_state.label == "unconfigured"
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert robot.call(ChangeState, "change_state", request).success, robot.process.output
    assert robot.answered(3.0).question == "what?"


def test_a_first_frame_that_hangs_while_the_node_is_configured_is_noticed_too(
    ros: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried: list[Carried] = []
    noticed = threading.Event()

    def replace_with(what: Carried) -> None:
        carried.append(what)
        noticed.set()

    monkeypatch.setattr(TransformersEngine, "complete", lambda *args, **more: noticed.wait(60.0))
    overrides = [Parameter("model", value=str(tiny_model)), Parameter("watchdog", value=0.05)]
    edge = ros.add(EdgeNode(None, replace_with, context=ros.context, parameter_overrides=overrides))
    edge.trigger_configure()
    (what,) = carried
    assert (what.state, what.parameters["watchdog"], len(what.hangs)) == ("active", 0.05, 1)
    assert "the model hangs" in what.why


def pairs(status: DiagnosticStatus) -> list[tuple[str, str]]:
    return [(value.key, value.value) for value in status.values]

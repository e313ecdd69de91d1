# SPDX-License-Identifier: Apache-2.0
"""An error in a callback, rclpy's own or ours, ends no node: it is counted, and what comes next is served."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from rosgraph_msgs.msg import Clock

from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.executor import NodeExecutor


@pytest.fixture(params=["edge_node", "cloud_bridge_node", "recorder_node"])
def module(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_negative_clock_and_a_parameter_of_an_unknown_type_end_no_node(
    ros: Any, module: str, tiny_model: Path, tmp_path: Path
) -> None:
    given: dict[str, dict[str, object]] = {
        "edge_node": {"model": tiny_model, "threads": 1},
        "cloud_bridge_node": {"base_url": "http://127.0.0.1:9/v1"},
        "recorder_node": {"folder": tmp_path / "record", "min_free": 0.0},
    }
    process = ros.run_node(module, use_sim_time=True, **given[module])
    node = ros.node()
    errors: list[str] = []

    def on_diagnostics(message: DiagnosticArray) -> None:
        errors.extend(value.value for value in message.status[0].values if value.key == "errors of callbacks")

    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, qos.EVENTS)
    clock = node.create_publisher(Clock, "/clock", qos.EVENTS)
    setter = node.create_client(SetParameters, f"{module}/set_parameters")
    getter = node.create_client(GetParameters, f"{module}/get_parameters")
    assert ros.spin_until(lambda: errors and clock.get_subscription_count()), process.output
    assert ros.spin_until(lambda: setter.service_is_ready() and getter.service_is_ready()), process.output
    message = Clock()
    message.clock.sec = -1
    clock.publish(message)
    assert ros.spin_until(lambda: errors[-1] == "1"), process.output
    setter.call_async(SetParameters.Request(parameters=[Parameter(name="a", value=ParameterValue(type=77))]))
    assert ros.spin_until(lambda: errors[-1] == "2"), process.output
    got = getter.call_async(GetParameters.Request(names=["use_sim_time"]))
    assert ros.spin_until(got.done), process.output
    assert got.result().values[0].bool_value is True
    assert process.interrupt() == 0, process.output
    assert "Traceback" not in process.output


def test_an_error_that_repeats_at_once_takes_no_whole_core_and_starves_nobody(ros: Any) -> None:
    node = ros.node()
    executor = NodeExecutor(context=ros.context)
    executor.add_node(node)
    served: list[float] = []

    def fail() -> None:
        executor.create_task(fail)
        raise RuntimeError("again")

    node.create_timer(0.01, lambda: served.append(time.monotonic()), clock=RosClock(clock_type=ClockType.STEADY_TIME))
    executor.create_task(fail)
    cpu = time.process_time()
    begun = time.monotonic()
    while len(served) < 20:
        executor.spin_once(timeout_sec=0.1)
    assert executor.errors > 0
    assert time.process_time() - cpu < 0.8 * (time.monotonic() - begun)
    executor.shutdown()

# SPDX-License-Identifier: Apache-2.0
"""The evaluated robot has the nodes' settings, whoever wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.cloud.budget import Limits
from edgevlm_ros.cloud.selection import Rule
from edgevlm_ros.edge.preset import load_preset
from edgevlm_ros.evaluation.robot import Bridge, RobotError, robot
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.history import Replacement


def test_without_a_file_it_is_the_robot_of_the_documented_defaults() -> None:
    found = robot()
    assert found.engine.model == "micro_svlm"
    assert found.replacement == Replacement()
    assert found.focus == Focus(beta=load_preset("micro_svlm").beta)
    assert found.bridge == Bridge()


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("""
/robot1:
  edge_node:
    ros__parameters:
      max_new_tokens: 8
      choices: [left, right]
      focus: {mode: attention, beta: 2.5}
      focus.layers: '1,2'
      replacement.max_turns: 3
/**:
  ros__parameters: {keyframe_period: 4.0}
  cloud_bridge_node:
    ros__parameters:
      max_in_flight: 5
      budget: {calls_per_minute: 12.0}
      keyframes: {mode: adaptive, min_period: 1.5}
other_node:
  ros__parameters: {max_new_tokens: 99}
""")
    found = robot(file, edge_model="mine/model")
    assert (found.engine.model, found.engine.max_new_tokens, found.engine.focus_layers) == ("mine/model", 8, (1, 2))
    assert (found.focus.mode, found.focus.beta, found.focus.carry) == ("attention", 2.5, Focus().carry)
    assert found.replacement == Replacement(max_turns=3)
    assert found.bridge == Bridge(Rule(period=4.0, mode="adaptive", min_period=1.5), Limits(calls_per_minute=12.0), 5)
    assert (found.choices, robot().choices) == (("left", "right"), ())
    assert found.engine.choice_temperature == load_preset("mine/model").choice_temperature


def test_boxes_are_read_as_the_large_model_counts_them(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("cloud_bridge_node: {ros__parameters: {box_format: auto}}")
    assert robot(file, cloud_model="Qwen/Qwen2.5-VL-7B-Instruct").bridge.box_format == "pixels_qwen2_5"
    assert robot(file).bridge.box_format == "relative_1000"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "cannot be read"),
        ("edge_node: {ros__parameters: {focus.mode: squint}}", "squint"),
        ("edge_node: {ros__parameters: {focus.colour: red}}", "colour"),
        ("edge_node: {ros__parameters: {server_url: 'http://localhost:1/v1'}}", "server_url is set"),
        ("cloud_bridge_node: {ros__parameters: {box_format: inches}}", "inches"),
        ("cloud_bridge_node: {ros__parameters: {keyframes: {min_period: 11.0}}}", "min_period = 11 is longer than"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_reason(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(RobotError, match=fault):
        robot(file)

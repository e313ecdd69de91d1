# SPDX-License-Identifier: Apache-2.0
"""The parameter file names every parameter that the nodes have, and the nodes read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.assets import share_dir
from edgevlm_ros.nodes import cloud_bridge_node, edge_node
from edgevlm_ros.nodes.parameters import Parameter, Parameters

FILE = share_dir() / "config" / "edgevlm.yaml"
TABLES = {"edge_node": edge_node.PARAMETERS, "cloud_bridge_node": cloud_bridge_node.PARAMETERS}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, object]:
    result: dict[str, object] = {}
    for name, value in values.items():
        result.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return result


@pytest.mark.parametrize("node", TABLES)
def test_the_file_holds_every_parameter_with_its_default(node: str) -> None:
    values = flat(yaml.safe_load(FILE.read_text())["/**"][node]["ros__parameters"])
    assert values == {parameter.name: parameter.default for parameter in TABLES[node]}


def test_a_node_in_any_namespace_takes_its_own_part(ros: Any, tmp_path: Path) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text(FILE.read_text().replace('mode: "crop"', 'mode: "none"'))
    arguments = ["--ros-args", "--params-file", str(changed)]
    table = (Parameter("focus.mode", "crop", "How."), Parameter("model", "?", "What."))
    node = ros.node("edge_node", namespace="front/left", cli_args=arguments)
    parameters = Parameters(node, table, lambda: None, lambda: True)
    assert parameters["focus.mode"] == "none"
    assert parameters["model"] == "micro_svlm"

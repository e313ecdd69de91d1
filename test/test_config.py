# SPDX-License-Identifier: Apache-2.0
"""Every parameter file is read by the real nodes, says only what they have, and tells each parameter once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.assets import model_path, settings_files, share_dir
from edgevlm_ros.edge.published import PUBLISHED
from edgevlm_ros.endpoint import BUNDLED_URL
from edgevlm_ros.nodes.cloud_bridge_node import CloudBridgeNode
from edgevlm_ros.nodes.edge_node import EdgeNode
from edgevlm_ros.nodes.parameter_reference import CONFIGURED
from edgevlm_ros.nodes.parameters import ParameterError

CONFIG = share_dir() / "config"
ALL = CONFIG / "edgevlm.yaml"
SMALL = [*settings_files("models").values(), *settings_files("clouds").values()]
NODES = {"edge_node": EdgeNode, "cloud_bridge_node": CloudBridgeNode}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in values.items():
        result.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return result


def sections(file: Path) -> dict[str, dict[str, Any]]:
    """Parameters by node, by their whole names."""
    (nodes,) = yaml.safe_load(file.read_text()).values()
    return {node: flat(values["ros__parameters"]) for node, values in nodes.items()}


def defaults(node: str) -> dict[str, Any]:
    return {parameter.name: parameter.check(parameter.default) for parameter in CONFIGURED[node]}


def started(ros: Any, name: str, *files: Path, namespace: str = "front") -> Any:
    words = [word for file in files for word in ("--params-file", str(file))]
    return ros.add(NODES[name](context=ros.context, namespace=namespace, cli_args=["--ros-args", *words]))


def name_of(file: Path) -> str:
    return str(file.relative_to(CONFIG).with_suffix(""))


@pytest.mark.parametrize("node", NODES)
def test_the_file_of_all_holds_every_parameter_with_its_default(node: str) -> None:
    assert sections(ALL)[node] == defaults(node)


def test_the_bundled_cloud_is_where_the_bundled_server_listens() -> None:
    assert sections(settings_files("clouds")["bundled"])["cloud_bridge_node"]["base_url"] == BUNDLED_URL


@pytest.mark.parametrize("file", SMALL, ids=name_of)
def test_a_small_file_says_what_it_says_of_one_node(file: Path) -> None:
    assert list(yaml.safe_load(file.read_text())) == ["/**"]
    (node,) = sections(file)
    assert node == ("edge_node" if file.parent.name == "models" else "cloud_bridge_node")


@pytest.mark.parametrize("file", settings_files("models").values(), ids=name_of)
def test_a_file_of_a_model_names_one_that_can_be_loaded_or_a_server(file: Path) -> None:
    values = sections(file)["edge_node"]
    assert "server_url" in values or model_path(values["model"]) == values["model"]


@pytest.mark.parametrize("file", settings_files("models").values(), ids=name_of)
def test_a_file_of_a_hubs_model_says_which_revision_and_has_a_size_that_is_known(file: Path) -> None:
    values = sections(file)["edge_node"]
    if "server_url" not in values:
        assert values["revision"]
        assert values["quantization"] == "auto"
        assert values["model"] in PUBLISHED


@pytest.mark.parametrize("file", [ALL, *SMALL], ids=name_of)
def test_a_node_in_any_namespace_takes_its_part_of_a_file(ros: Any, file: Path) -> None:
    for name, values in sections(file).items():
        node = started(ros, name, file, namespace="front/left")
        taken = {name: node.get_parameter(name).value for name in values}
        assert taken == values


@pytest.mark.parametrize("file", SMALL, ids=name_of)
def test_a_small_file_wins_over_the_one_of_all_before_it(ros: Any, file: Path) -> None:
    for name, values in sections(file).items():
        node = started(ros, name, ALL, file)
        whole = {name: node.get_parameter(name).value for name in defaults(name)}
        assert whole == {**defaults(name), **values}


@pytest.mark.parametrize("file", [ALL, *SMALL], ids=name_of)
def test_a_misspelt_key_of_a_file_is_named_with_the_nearest(ros: Any, file: Path, tmp_path: Path) -> None:
    for name, values in sections(file).items():
        right = list(values)[-1]
        wrong = right[:-2] + right[-1]
        misspelt = {wrong if key == right else key: value for key, value in values.items() if value != []}
        changed = tmp_path / f"{name}.yaml"
        changed.write_text(yaml.dump({"/**": {name: {"ros__parameters": misspelt}}}))
        with pytest.raises(ParameterError, match=f"{name} has no parameter {wrong!r} .did you mean {right!r}"):
            started(ros, name, changed)

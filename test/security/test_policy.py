# SPDX-License-Identifier: Apache-2.0
"""The SROS2 example beside the running nodes: it allows all that they make."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from rclpy.action import get_action_client_names_and_types_by_node, get_action_server_names_and_types_by_node

from edgevlm_ros.assets import share_dir
from support.scripted_cloud import ScriptedCloud
from support.small_bag import SmallBag

POLICY = share_dir() / "config" / "security" / "edgevlm.policy.xml"
RIGHTS = {
    ("topics", "publish"): "get_publisher_names_and_types_by_node",
    ("topics", "subscribe"): "get_subscriber_names_and_types_by_node",
    ("services", "reply"): "get_service_names_and_types_by_node",
    ("services", "request"): "get_client_names_and_types_by_node",
}
ACTIONS: dict[tuple[str, str], Callable[..., list[tuple[str, list[str]]]]] = {
    ("actions", "execute"): get_action_server_names_and_types_by_node,
    ("actions", "call"): get_action_client_names_and_types_by_node,
}


def allowed() -> dict[str, set[tuple[str, str, str]]]:
    """By node: what (topics, services or actions), how (publish, ...) and its whole name."""
    rights: dict[str, set[tuple[str, str, str]]] = {}
    for profile in ElementTree.parse(POLICY).iter("profile"):
        node = rights.setdefault(profile.attrib["node"], set())
        for group in profile:
            for name in (str(item.text) for item in group):
                whole = name if name.startswith("/") else f"/{name}"
                whole = whole.replace("/~/", f"/{profile.attrib['node']}/")
                node |= {(group.tag, how, whole) for how, verdict in group.attrib.items() if verdict == "ALLOW"}
    return rights


def made(observer: Any, node: str) -> set[tuple[str, str, str]]:
    """What a running node has, as others see it; of an action the action and none of its parts."""
    things = {
        (what, how, name)
        for (what, how), method in RIGHTS.items()
        for name, _ in getattr(observer, method)(node, "/")
        if "/_action/" not in name
    }
    return things | {
        (what, how, name) for (what, how), names in ACTIONS.items() for name, _ in names(observer, node, "/")
    }


def all_listen(observer: Any, topics: dict[str, str]) -> bool:
    """Whether each node is here and has made its topic, which it makes last."""
    try:
        return all(name in {there for _, _, there in made(observer, node)} for node, name in topics.items())
    except Exception:  # rclpy's NodeNameNonExistentError, as long as it is not here
        return False


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_all_that_the_edge_node_and_the_bridge_make_is_allowed(ros: Any, tiny_model: Path, transport: str) -> None:
    observer = ros.node("observer")
    with ScriptedCloud() as cloud:
        common = {"image_transport": transport, "use_sim_time": True}
        edge = ros.run_node("edge_node", model=str(tiny_model), device="cpu", threads=1, **common)
        bridge = ros.run_node("cloud_bridge_node", base_url=cloud.base_url, **common)
        image = "/image" if transport == "raw" else "/image/compressed"
        nodes = {"edge_node": image, "cloud_bridge_node": image}
        assert ros.spin_until(lambda: all_listen(observer, nodes)), edge.output + bridge.output
        for node in ("edge_node", "cloud_bridge_node"):
            assert made(observer, node) - allowed()[node] == set()
    assert ("services", "reply", "/set_question") in made(observer, "edge_node")


def test_all_that_recorder_and_player_make_is_allowed(ros: Any, tmp_path: Path) -> None:
    observer = ros.node("observer")
    with SmallBag(tmp_path / "bag") as bag:
        bag.question(0.0)
        bag.truth(0.0, "left")
        bag.jpeg(0.0)
        bag.raw(0.1)
    everything = {"overlay": True, "images": True, "min_free": 0.0, "use_sim_time": True}
    recorder = ros.run_node("recorder_node", folder=str(tmp_path / "out"), **everything)
    player = ros.run_node("bag_player_node", bag=str(tmp_path / "bag"), wait_for_subscribers=9)
    nodes = {"recorder_node": "/focus/overlay", "bag_player_node": "/image"}
    assert ros.spin_until(lambda: all_listen(observer, nodes)), recorder.output + player.output
    for node in ("recorder_node", "bag_player_node"):
        assert made(observer, node) - allowed()[node] == set()


def test_nobody_but_the_operator_may_ask_or_change_a_node() -> None:
    for node, rights in allowed().items():
        requests = {name for what, how, name in rights if how in ("request", "call")}
        assert bool(requests) == (node == "operator")


def test_the_operator_may_ask_what_the_nodes_answer() -> None:
    rights = allowed()
    served = {name for node in rights for what, how, name in rights[node] if how in ("reply", "execute")}
    asked = {name for what, how, name in rights["operator"] if how in ("request", "call")}
    assert asked <= served


def test_each_node_has_an_enclave_of_its_own() -> None:
    enclaves = [
        [profile.attrib["node"] for profile in enclave.iter("profile")]
        for enclave in ElementTree.parse(POLICY).iter("enclave")
    ]
    assert all(len(nodes) == 1 for nodes in enclaves)
    nodes = {f"{path.stem}" for path in (share_dir() / "src/edgevlm_ros/nodes").glob("*_node.py")} - {"camera_node"}
    assert {name for (name,) in enclaves} == nodes | {"operator"}

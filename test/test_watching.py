# SPDX-License-Identifier: Apache-2.0
"""What people open to watch the robot fits what the nodes publish, and what the docs quote is what they say."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

import yaml
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

from edgevlm_ros.nodes import qos

ROOT = Path(__file__).parents[1]
RVIZ = yaml.safe_load((ROOT / "rviz/edgevlm.rviz").read_text())
DISPLAYS = {display["Name"]: display for display in RVIZ["Visualization Manager"]["Displays"]}
LAYOUT = json.loads((ROOT / "foxglove/edgevlm.json").read_text())
WATCHING = (ROOT / "docs/watching.md").read_text()
PATH = re.compile(r'(?P<topic>/[a-z_/]+)(\{(?P<key>\w+)=="(?P<value>\w+)"\})?(?P<fields>(\.\w+)*)')


@pytest.fixture
def published(ros: Any, tiny_model: Path) -> dict[str, tuple[str, set[str]]]:
    """Topics that the two nodes publish -> type, and the nodes that do. The camera is the test's."""
    from sensor_msgs.msg import Image

    node = ros.node()
    node.create_publisher(Image, "image", qos.EVENTS)
    processes = [
        ros.run_node("edge_node", model=tiny_model, question="Where is the person?", threads=1),
        ros.run_node("cloud_bridge_node", base_url="http://127.0.0.1:9/v1"),
    ]

    def found() -> dict[str, tuple[str, set[str]]]:
        topics = dict(node.get_topic_names_and_types())
        return {
            topic: (types[0], {info.node_name for info in node.get_publishers_info_by_topic(topic)})
            for topic, types in topics.items()
        }

    # a node's name may come after its publishers
    nodes = {"edge_node", "cloud_bridge_node"}
    there = ros.spin_until(lambda: found().get("/metrics", ("", set()))[1] == nodes)
    assert there, "\n".join(process.output for process in processes)
    assert ros.spin_until(lambda: node.count_subscribers("/image") == 2 and node.count_publishers("/context"))
    return found()


# -- RViz --------------------------------------------------------------------------------------------------------------


def test_rviz_shows_what_the_nodes_publish(published: dict[str, tuple[str, set[str]]]) -> None:
    shown = {f"/{display['Topic']['Value']}" for display in DISPLAYS.values()}
    assert shown == {"/image", "/image/compressed", "/focus/overlay/compressed", "/focus/map"}
    for topic in shown - {"/image/compressed"}:  # the test's camera has none
        kind = "CompressedImage" if topic.endswith("/compressed") else "Image"
        assert published[topic][0] == f"sensor_msgs/msg/{kind}"


@pytest.mark.parametrize("name", DISPLAYS)
def test_an_rviz_display_reaches_every_publisher_of_its_topic(name: str) -> None:
    topic = DISPLAYS[name]["Topic"]
    assert not topic["Value"].startswith("/"), "a relative topic follows the namespace and remappings"
    policy = {key: topic[f"{key} Policy"].upper().replace(" ", "_") for key in ("History", "Reliability", "Durability")}
    profile = QoSProfile(
        depth=topic["Depth"],
        history=HistoryPolicy[policy["History"]],
        reliability=ReliabilityPolicy[policy["Reliability"]],
        durability=DurabilityPolicy[policy["Durability"]],
    )
    # cameras publish either way, our own pictures as events
    offered = [qos.EVENTS, qos.NEWEST_IMAGE] if topic["Value"].startswith("image") else [qos.EVENTS]
    for publisher in offered:
        assert qos_check_compatible(publisher, profile)[0] != QoSCompatibility.ERROR


def test_rviz_opens_with_the_pictures_docked() -> None:
    assert {display["Class"] for display in DISPLAYS.values()} == {"rviz_default_plugins/Image"}
    assert {panel["Class"] for panel in RVIZ["Panels"]} == {"rviz_common/Displays", "rviz_common/Time"}
    on = {name for name, display in DISPLAYS.items() if display["Enabled"]}
    assert on == {"Overlay", "Camera", "Focus map"}, "a camera is raw or compressed"
    window = RVIZ["Window Geometry"]
    state = bytes.fromhex(window["QMainWindow State"])
    for dock in [*DISPLAYS, *(panel["Name"] for panel in RVIZ["Panels"])]:
        assert dock in window
        assert dock.encode("utf-16-be") in state, "a dock that Qt does not know opens as a window of its own"


def test_the_focus_map_has_a_fixed_scale() -> None:
    display = DISPLAYS["Focus map"]
    assert (display["Normalize Range"], display["Min Value"], display["Max Value"]) == (False, 0, 1)


# -- Foxglove ----------------------------------------------------------------------------------------------------------


def paths(layout: dict[str, Any]) -> Iterator[str]:
    """Every topic and message path of a layout."""
    for panel in layout["configById"].values():
        yield from (path["value"] for path in panel.get("paths", []))
        yield from (panel[key] for key in ("topicPath", "topicToRender") if key in panel)
        if "imageMode" in panel:
            yield panel["imageMode"]["imageTopic"]


def test_every_path_of_the_layout_leads_to_a_field_that_is_published(
    published: dict[str, tuple[str, set[str]]],
) -> None:
    for path in paths(LAYOUT):
        match = PATH.fullmatch(path)
        assert match, path
        kind, nodes = published[match["topic"]]
        package, _, name = kind.partition("/msg/")
        message = getattr(importlib.import_module(f"{package}.msg"), name)()
        if match["key"]:
            assert hasattr(message, match["key"]), path
            assert match["value"] in nodes, path
        for field in match["fields"].split(".")[1:]:
            assert field in message.get_fields_and_field_types(), path
            message = getattr(message, field)


def test_the_layout_calls_the_service_that_sets_the_question() -> None:
    from edgevlm_msgs.srv import SetQuestion

    panel = LAYOUT["configById"]["CallService!question"]
    request = json.loads(panel["requestPayload"])
    assert panel["serviceName"] == "/set_question"
    assert set(request) == set(SetQuestion.Request.get_fields_and_field_types())


def test_every_panel_of_the_layout_has_its_place() -> None:
    def placed(part: Any) -> list[str]:
        return [part] if isinstance(part, str) else [*placed(part["first"]), *placed(part["second"])]

    assert sorted(placed(LAYOUT["layout"])) == sorted(LAYOUT["configById"])


# -- docs/watching.md --------------------------------------------------------------------------------------------------


def test_the_commands_that_make_another_layout_change_what_they_should(tmp_path: Path) -> None:
    commands = re.findall(r"^sed .*$", WATCHING, re.MULTILINE)
    assert len(commands) == 2
    (tmp_path / "foxglove").symlink_to(ROOT / "foxglove")
    for command in commands:
        subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    camera, front = (json.loads((tmp_path / name).read_text()) for name in ("camera.json", "front.json"))
    assert [path for path in paths(camera) if path not in set(paths(LAYOUT))] == ["/camera/image_raw"]
    kept = ("/diagnostics", "/rosout")
    assert list(paths(front)) == [path if path in kept else f"/front{path}" for path in paths(LAYOUT)]
    assert front["configById"]["CallService!question"]["serviceName"] == "/front/set_question"


def test_the_panels_that_the_docs_explain_are_those_there_are() -> None:
    for name in [*DISPLAYS, "Time"]:
        assert f"| {name} |" in WATCHING
    for panel in LAYOUT["configById"].values():
        title = re.sub(r" \[.*\]|:.*", "", panel.get("foxglovePanelTitle", ""))
        assert title in WATCHING


def test_what_the_docs_quote_as_a_warning_is_in_the_code() -> None:
    rows = re.findall(r"^\| (`.*?) \|", WATCHING.partition("## What a warning means")[2], re.MULTILINE)
    quoted = [quote for row in rows for quote in re.findall(r"`([^`]+)`", row)]
    assert len(rows) > 15
    package = ROOT / "src/edgevlm_ros"
    said = [
        node.value
        for file in (*package.glob("nodes/*.py"), package / "cloud/breaker.py", package / "cloud/budget.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [quote for quote in quoted if not any(quote in text for text in said)] == []

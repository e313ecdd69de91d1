# SPDX-License-Identifier: Apache-2.0
"""The launch files, where ROS 2's launch is installed."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

pytest.importorskip("launch_ros", reason="ROS 2's launch and launch_ros are not installed here")

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch_ros.actions import Node
from launch_ros.utilities import evaluate_parameters

from edgevlm_ros import launch_arguments

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.name.replace(".", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declared(path: Path) -> dict[str, DeclareLaunchArgument]:
    entities = load(path).generate_launch_description().entities
    return {entity.name: entity for entity in entities if isinstance(entity, DeclareLaunchArgument)}


def context(path: Path, **given: str) -> LaunchContext:
    """As launch has it when the declared arguments have been visited."""
    context = LaunchContext()
    context.launch_configurations.update(given)
    for argument in declared(path).values():
        argument.execute(context)
    return context


def robot_nodes(**given: str) -> tuple[LaunchContext, list[Node]]:
    path = ROOT / "launch" / "edgevlm.launch.py"
    there = context(path, **given)
    return there, load(path).nodes(there)


def parameters(context: LaunchContext, node: Node) -> dict[str, Any]:
    """What the arguments set, as the node will read it."""
    sets = evaluate_parameters(context, node._Node__parameters)  # type: ignore[attr-defined]
    return {name: value for some in sets if isinstance(some, dict) for name, value in some.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_argument_has_a_default_and_a_description(path: Path) -> None:
    arguments = declared(path)
    assert arguments
    assert all(argument.default_value is not None and argument.description for argument in arguments.values())


def test_the_replay_passes_on_what_the_robot_takes() -> None:
    entities = load(ROOT / "launch" / "replay.launch.py").generate_launch_description().entities
    (include,) = (entity for entity in entities if isinstance(entity, IncludeLaunchDescription))
    included = include.launch_description_source.try_get_launch_description_without_context()
    names = {entity.name for entity in included.entities if isinstance(entity, DeclareLaunchArgument)}
    assert names == set(declared(ROOT / "launch" / "edgevlm.launch.py"))
    assert not include.launch_arguments  # so that all of them come from the command line


def test_only_what_is_given_comes_over_the_parameter_file() -> None:
    there, (edge, bridge) = robot_nodes()
    assert parameters(there, edge) == parameters(there, bridge) == {}


@pytest.mark.parametrize("question", ["12", "yes", "is: [it] {safe}?", "C:\\x 'y' \"z\""])
def test_a_question_stays_the_text_it_is(question: str) -> None:
    there, (edge, _) = robot_nodes(question=question)
    assert parameters(there, edge) == {"question": question}
    assert yaml.safe_load(yaml.dump(parameters(there, edge))) == {"question": question}


def test_cameras_are_texts_whatever_their_names_mean_in_yaml() -> None:
    there, (edge, on, off) = robot_nodes(cameras="on,off", use_sim_time="true")
    values = parameters(there, edge)
    assert list(values["cameras"]) == ["on", "off"]
    assert values["use_sim_time"] is True
    assert [node.node_executable for node in (edge, on, off)] == ["edge_node"] + 2 * ["cloud_bridge_node"]


def test_rviz_comes_for_each_camera_if_asked_for_and_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("launch.logging.get_logger", lambda name: SimpleNamespace(error=said.append))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    _, nodes = robot_nodes(cameras="front,rear", use_rviz="true")
    assert [node.node_package for node in nodes] == 3 * ["edgevlm_ros"]
    assert "RViz is not installed" in "".join(said)
    marker = tmp_path / "share" / "ament_index" / "resource_index" / "packages" / "rviz2"
    marker.parent.mkdir(parents=True)
    marker.touch()
    _, nodes = robot_nodes(cameras="front,rear", use_rviz="True")
    assert [node.node_package for node in nodes] == 3 * ["edgevlm_ros"] + 2 * ["rviz2"]


def test_a_recorder_comes_if_asked_for_and_no_bridge_where_there_is_no_cloud() -> None:
    there, (edge, recorder) = robot_nodes(use_cloud="false", record="true", record_to="~/a %H", record_images="true")
    assert [node.node_executable for node in (edge, recorder)] == ["edge_node", "recorder_node"]
    assert parameters(there, recorder) == {"folder": "~/a %H", "images": True}


@pytest.mark.parametrize(
    ("given", "heard_by"),
    [
        ({}, 2),
        ({"use_cloud": "false"}, 1),
        ({"record": "true"}, 2),
        ({"record": "true", "record_images": "true"}, 3),
        ({"record": "true", "record_images": "true", "image_topic": "/image"}, 2),
    ],
)
def test_the_replay_waits_for_those_who_hear_the_camera(given: dict[str, str], heard_by: int) -> None:
    path = ROOT / "launch" / "replay.launch.py"
    there = context(path, **given)
    for action in load(path).camera(there):
        action.execute(there)
    assert load(path).listeners(there) == heard_by
    (node,) = load(path).player(there)
    assert parameters(there, node)["wait_for_subscribers"] == heard_by


def test_the_replay_starts_no_server_without_a_bridge() -> None:
    path = ROOT / "launch" / "replay.launch.py"
    assert load(path).server(context(path, use_cloud="false", use_server="true")) == []


def test_a_bad_argument_ends_the_launch_with_what_to_do() -> None:
    with pytest.raises(launch_arguments.LaunchArgumentError, match="did you mean openai"):
        robot_nodes(cloud_url="open-ai")
    with pytest.raises(RuntimeError, match="raw"):
        robot_nodes(image_transport="theora")


@pytest.mark.parametrize(
    ("given", "started"),
    [
        ({}, 1),
        ({"cloud_url": "bundled"}, 1),
        ({"cloud_url": "https://host/v1"}, 0),
        ({"cloud_url": "https://host/v1", "use_server": "True"}, 1),
        ({"use_server": "False"}, 0),
        ({"use_cloud": "False", "use_server": "true"}, 0),
    ],
)
def test_the_replay_starts_the_bundled_cloud_unless_another_is_named(given: dict[str, str], started: int) -> None:
    path = ROOT / "launch" / "replay.launch.py"
    actions = load(path).server(context(path, **given))
    assert sum(isinstance(action, ExecuteProcess) for action in actions) == started


def test_the_replays_bridge_asks_the_server_of_its_own_launch() -> None:
    path, ports = ROOT / "launch" / "replay.launch.py", set()
    for _ in range(2):
        there = context(path)
        *known, server = load(path).server(there)
        for action in known:
            action.execute(there)
        port = "".join(part.text for part in server.cmd[-1])
        url = robot_nodes(**there.launch_configurations)
        (bridge,) = (node for node in url[1] if node.node_executable == "cloud_bridge_node")
        assert parameters(url[0], bridge)["base_url"] == f"http://127.0.0.1:{port}/v1"
        ports.add(port)
    assert len(ports) == 2


def test_raw_images_have_room_in_shared_memory_unless_the_user_has_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "launch" / "edgevlm.launch.py"
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert load(path).profile(LaunchContext())
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "own.xml")
    assert load(path).profile(LaunchContext()) == []


def launched(ros: Any, *arguments: str) -> Any:
    """ros2 launch, as a terminal starts it: in a process group of its own."""
    pytest.importorskip("ros2launch", reason="ros2 launch is not installed here")
    try:
        get_package_prefix("edgevlm_ros")
    except PackageNotFoundError:
        pytest.skip("no edgevlm_ros is built by colcon and sourced here")
    return ros.run("ros2", "launch", "edgevlm_ros", *arguments)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "wrong", ["edge_model:=no_such_model", "cloud_key_env:=NO_SUCH_KEY_HERE", "params_file:=/no/such.yaml"]
)
def test_what_cannot_work_ends_the_launch_with_an_error_also_if_nodes_are_respawned(ros: Any, wrong: str) -> None:
    process = launched(ros, "edgevlm.launch.py", "use_respawn:=True", wrong)
    assert process.wait(200) == 1, process.output
    assert "Traceback" not in process.output


@pytest.mark.timeout(300)
def test_ctrl_c_of_a_launch_closes_the_record(ros: Any, tmp_path: Path) -> None:
    process = launched(ros, "edgevlm.launch.py", "record:=True", f"record_to:={tmp_path}", "use_cloud:=False")
    assert ros.spin_until(lambda: "recording into" in process.output), process.output
    os.killpg(process.popen.pid, signal.SIGINT)  # and launch forwards it to each
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output
    assert (tmp_path / "bag" / "metadata.yaml").exists()


def test_the_replay_finds_the_camera_of_the_bag() -> None:
    path = ROOT / "launch" / "replay.launch.py"
    there = context(path)
    for action in load(path).camera(there):
        action.execute(there)
    assert there.launch_configurations["image_topic"] == "/image/compressed"
    assert load(path).camera(context(path, image_topic="/other")) == []

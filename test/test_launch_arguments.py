# SPDX-License-Identifier: Apache-2.0
"""What the launch files' arguments become."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.launch_arguments import (
    BRIDGE,
    BUNDLED_PORT,
    EDGE,
    RECORDER,
    LaunchArgumentError,
    cameras,
    dds_profile,
    image_topic,
    namespace,
    robot,
    unmatched,
    views,
)

NAMES = (
    "namespace", "cameras", "params_file", "use_sim_time", "autostart", "image_topic", "image_transport", "question",
    "edge_model", "edge_quantization", "focus_mode", "use_cloud", "cloud_url", "cloud_model", "cloud_key_env",
    "cloud_upload", "cloud_eyes", "cloud_allow_http", "record", "record_to", "record_images",
)  # fmt: skip


def arguments(**some: str) -> dict[str, str]:
    return {**dict.fromkeys(NAMES, ""), **some}


def test_arguments_that_are_not_given_set_nothing() -> None:
    for start in robot(arguments()):
        assert start.parameters == {}
        assert start.remappings == ()
        assert start.files == ()
        assert start.namespace == "/"


def test_each_argument_reaches_its_node() -> None:
    edge, bridge = robot(
        arguments(
            use_sim_time="true",
            autostart="false",
            image_transport="raw",
            question="12",
            edge_model="org/name",
            edge_quantization="nf4",
            focus_mode="crop+text",
            cloud_url="https://host/v1",
            cloud_model="big",
            cloud_key_env="KEY",
            cloud_upload="features",
            cloud_eyes="org/big",
            cloud_allow_http="true",
        )
    )
    shared = {"use_sim_time": True, "autostart": False, "image_transport": "raw"}
    assert (edge.node, bridge.node) == (EDGE, BRIDGE)
    own = {"model": "org/name", "quantization": "nf4", "question": "12", "focus.mode": "crop+text"}
    assert edge.parameters == {**shared, **own}
    assert bridge.parameters == {
        **shared,
        "base_url": "https://host/v1",
        "model": "big",
        "api_key_env": "KEY",
        "upload": "features",
        "features.model": "org/big",
        "allow_http": True,
    }


def test_a_named_file_comes_after_the_parameter_file_and_before_the_arguments(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.touch()
    given_files = arguments(params_file=str(own), edge_model="qwen2.5-vl-3b", cloud_url="openai", cloud_model="gpt-4o")
    edge, bridge = robot(given_files)
    assert [file.name for file in edge.files] == ["own.yaml", "qwen2.5-vl-3b.yaml"]
    assert [file.name for file in bridge.files] == ["own.yaml", "openai.yaml"]
    assert edge.parameters == {}
    assert bridge.parameters == {"model": "gpt-4o"}


def test_several_cameras_are_one_edge_node_and_a_bridge_each() -> None:
    edge, front, rear = robot(arguments(namespace="robot", cameras="front, rear", image_topic="image_raw"))
    assert edge.namespace == "/robot"
    assert edge.parameters == {"cameras": ["front", "rear"]}
    assert edge.remappings == (("front/image", "front/image_raw"), ("rear/image", "rear/image_raw"))
    assert [bridge.namespace for bridge in (front, rear)] == ["/robot/front", "/robot/rear"]
    assert front.remappings == rear.remappings == (("image", "image_raw"),)
    names = ["front", "rear"]
    assert [view.namespace for view in views([edge, front, rear], names)] == ["/robot/front", "/robot/rear"]
    compressed = ("image/compressed", "image_raw/compressed")
    assert views([edge, front, rear], names)[1].remappings == (("image", "image_raw"), compressed)


def test_without_a_cloud_there_is_no_bridge_and_the_same_view() -> None:
    given_topic = arguments(use_cloud="false", image_topic="/camera/image_raw")
    (edge,) = robot(given_topic)
    assert edge.node == EDGE
    assert views([edge], []) == views(robot(arguments(image_topic="/camera/image_raw")), [])
    several = robot(arguments(use_cloud="false", cameras="front,rear"))
    assert [start.node for start in several] == [EDGE]
    assert [view.namespace for view in views(several, ["front", "rear"])] == ["/front", "/rear"]


def test_the_recorder_starts_if_asked_for_and_hears_what_the_edge_node_hears() -> None:
    given_all = arguments(
        namespace="robot", cameras="front,rear", image_topic="image_raw", use_sim_time="true", autostart="true",
        image_transport="compressed", record="true", record_to="~/kept", record_images="true",
    )  # fmt: skip
    edge, *_, recorder = robot(given_all)
    assert (recorder.node, recorder.namespace, recorder.remappings) == (RECORDER, "/robot", edge.remappings)
    assert recorder.parameters == {
        "use_sim_time": True,
        "folder": "~/kept",
        "images": True,
        "cameras": ["front", "rear"],
    }
    assert robot(arguments(record="true"))[-1].parameters == {}
    assert RECORDER not in [start.node for start in robot(arguments(record_to="~/kept", record_images="true"))]


def test_the_recorder_knows_every_parameter_that_it_is_given() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
    from edgevlm_ros.nodes.recorder_node import PARAMETERS

    given_all = arguments(record="true", record_to="x", record_images="false", cameras="a,b", use_sim_time="true")
    known = {parameter.name for parameter in PARAMETERS} | {"use_sim_time"}
    assert set(robot(given_all)[-1].parameters) <= known


@pytest.mark.parametrize(
    ("text", "meant"),
    [("", "/"), ("/", "/"), ("front", "/front"), ("//front/", "/front"), ("front/", "/front"), ("a//b/", "/a/b")],
)
def test_a_slash_too_many_is_left_out_of_a_namespace(text: str, meant: str) -> None:
    assert namespace(text) == meant


@given(st.text(max_size=20))
def test_a_namespace_is_valid_for_ros_or_refused(text: str) -> None:
    validate = pytest.importorskip("rclpy.validate_namespace").validate_namespace
    try:
        assert validate(namespace(text))
    except LaunchArgumentError as error:
        assert str(error).startswith("namespace = ")


@pytest.mark.parametrize(
    ("text", "transport", "meant"),
    [
        ("camera/image_raw", "", ("camera/image_raw", "")),
        ("/camera//image_raw/", "raw", ("/camera/image_raw", "raw")),
        ("/camera/image_raw/compressed", "", ("/camera/image_raw", "compressed")),
    ],
)
def test_an_image_topic_tells_its_transport(text: str, transport: str, meant: tuple[str, str]) -> None:
    assert image_topic(text, transport) == meant


def test_one_camera_needs_no_name() -> None:
    assert cameras("") == cameras(" , ") == []


@pytest.mark.parametrize(
    ("some", "told"),
    [
        ({"namespace": "front left"}, "namespace = 'front left': 'front left' is no name"),
        ({"namespace": "2nd"}, "begins with no digit"),
        ({"cameras": "front,front"}, "front is there more than once"),
        ({"cameras": "front,re-ar"}, "'re-ar' is no name"),
        ({"cameras": "front", "image_topic": "/cam/image_raw"}, "such as 'image_raw' for /front/image_raw"),
        ({"image_topic": "/a/compressed", "image_transport": "raw"}, "leave one of them out"),
        ({"cloud_url": "opnai"}, "neither a URL .* did you mean openai"),
        ({"cloud_url": "my-server/v1"}, "neither a URL"),
        ({"params_file": "/no/such.yaml"}, "there is no such file"),
        ({"autostart": "maybe"}, "autostart = 'maybe': it takes true or false"),
        ({"record": "maybe"}, "record = 'maybe': it takes true or false"),
    ],
)
def test_what_cannot_be_followed_is_told(some: dict[str, str], told: str) -> None:
    with pytest.raises(LaunchArgumentError, match=told):
        robot(arguments(**some))


def test_true_and_false_are_taken_as_python_writes_them_too() -> None:
    assert RECORDER in [start.node for start in robot(arguments(record="True"))]
    assert BRIDGE not in [start.node for start in robot(arguments(use_cloud="False"))]


def test_the_bundled_cloud_of_a_replay_is_at_the_port_of_its_own_launch() -> None:
    _, bridge = robot({**arguments(cloud_url="bundled"), BUNDLED_PORT: "4711"})
    assert [file.name for file in bridge.files] == ["bundled.yaml"]
    assert bridge.parameters == {"base_url": "http://127.0.0.1:4711/v1"}


@pytest.mark.parametrize(
    ("text", "more", "told"),
    [
        ("edge_node: {ros__parameters: {}}", {}, ""),
        ("/**: {ros__parameters: {}}", {}, ""),
        ("/**: {edge_node: {ros__parameters: {}}}", {"namespace": "r1"}, ""),
        ("/r*/edge_node: {ros__parameters: {}}", {"namespace": "r1"}, ""),
        ("{edge_node: {ros__parameters: {}}, camera_driver: {ros__parameters: {}}}", {}, ""),
        ("{edge_node: {ros__parameters: {}}, recorder_node: {ros__parameters: {}}}", {}, ""),
        ("edge_nod: {ros__parameters: {}}", {}, "'edge_nod' names no node here; did you mean '/**/edge_node'?"),
        ("/**: {cloud_brige_node: {ros__parameters: {}}}", {}, "did you mean '/**/cloud_bridge_node'?"),
        ("edge_node: {ros__parameters: {}}", {"namespace": "r1"}, "did you mean '/**/edge_node'?"),
        ("{edge_node: {ros__parameters: {}}, edge-node: {ros__parameters: {}}}", {}, "'edge-node' names no node"),
        ("camera_driver: {ros__parameters: {}}", {}, "no section for any of /cloud_bridge_node, /edge_node"),
        ("", {}, "no section for any of"),
    ],
)
def test_a_section_of_a_parameter_file_that_names_no_node_is_told(
    tmp_path: Path, text: str, more: dict[str, str], told: str
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    warnings = unmatched(robot(arguments(params_file=str(file), **more)))
    assert len(warnings) == bool(told)
    assert told in "".join(warnings)
    assert all(str(file) in warning for warning in warnings)


@pytest.mark.parametrize("text", ["a: [1, 2", "a: b: c", "\t- x: {", "a: \x00"])
def test_a_parameter_file_that_is_no_yaml_is_told_in_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(LaunchArgumentError, match=r"own.yaml' cannot be read: [^\n]+$"):
        robot(arguments(params_file=str(tmp_path / "own.yaml")))


@pytest.mark.parametrize(
    ("environment", "sets"),
    [
        ({}, True),
        ({"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}, True),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, False),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "own.xml"}, False),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "own.xml"}, False),
        ({"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}, False),
        ({"ROS_LOCALHOST_ONLY": "1"}, False),
    ],
)
def test_fast_dds_gets_a_profile_where_the_user_has_none(environment: dict[str, str], sets: bool) -> None:
    profile = dds_profile(environment)
    assert bool(profile) is sets
    assert all(Path(file).is_file() for file in profile.values())

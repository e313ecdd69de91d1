# SPDX-License-Identifier: Apache-2.0
"""A bag instead of a robot: the player and the bundled cloud's server beside what edgevlm.launch.py starts.

It takes that file's arguments too.
"""

import socket

from launch import LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
)
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage

from edgevlm_ros.assets import bag_path, share_dir
from edgevlm_ros.bag_metadata import camera_of, playable, topics_of
from edgevlm_ros.launch_arguments import BUNDLED_PORT, TRUTH, wanted
from edgevlm_ros.launch_exit import end_launch, end_launch_on_error

# name: default, description, choices
ARGUMENTS: dict = {
    "bag": ("demo", "A rosbag2 folder, an .mcap or .db3 file, or the name of a bundled bag."),
    "rate": ("1.0", "Speed of playing."),
    "loop": ("false", "Begin again at the end.", TRUTH),
    "use_server": ("", "Start the bundled cloud's server; if not given, unless cloud_url is.", ["", *TRUTH]),
    "use_sim_time": ("true", "Take the time from /clock, which the bag gives.", ["", *TRUTH]),
    "image_topic": ("", "The bag's image topic; if not given, the likeliest camera."),
    "question": ("", "What is asked of every frame; if not given, the bag's own questions are."),
    "use_cloud": ("true", "Start the cloud bridge; without it the edge model is alone.", TRUTH),
    "cloud_url": ("", "An OpenAI-compatible server's URL, or a name; if not given, the bundled one's."),
    "record": ("false", "Keep what the nodes say in a bag that survives a crash and a full disk.", TRUTH),
    "record_images": ("", "Keep the bag's compressed images and camera_info too.", ["", *TRUTH]),
}


def camera(context: LaunchContext) -> list[Action]:
    """The camera that the bag has, if none is named."""
    if LaunchConfiguration("image_topic").perform(context):
        return []
    return [SetLaunchConfiguration("image_topic", camera_of(bag_path(LaunchConfiguration("bag").perform(context))))]


def player(context: LaunchContext) -> list[Action]:
    asked = bool(LaunchConfiguration("question").perform(context))
    topics = playable(topics_of(bag_path(LaunchConfiguration("bag").perform(context))), asked)
    kinds = {"bag": str, "rate": float, "loop": bool}
    given = {name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, kind in kinds.items()}
    fixed = {"topics": ParameterValue(" ".join(topics), value_type=str), "wait_for_subscribers": listeners(context)}
    name = "bag_player_node"
    return [
        Node(
            package="edgevlm_ros",
            executable=name,
            name=name,
            parameters=[given, fixed],
            on_exit=end_launch,
            output="screen",
        )
    ]


def listeners(context: LaunchContext) -> int:
    """How many nodes hear the camera: the edge node, the bridge, and a recorder of compressed images."""
    cloud, *recorder = (is_wanted(context, name) for name in ("use_cloud", "record", "record_images"))
    topic = LaunchConfiguration("image_topic").perform(context)
    return 1 + cloud + (all(recorder) and topic.endswith("/compressed"))


def is_wanted(context: LaunchContext, name: str) -> bool:
    return wanted({name: LaunchConfiguration(name).perform(context)}, name)


def server(context: LaunchContext) -> list[Action]:
    """The bundled cloud, at a port that is its own: at a known one the bridge might send frames to another's server."""
    asked, url = (LaunchConfiguration(name).perform(context) for name in ("use_server", "cloud_url"))
    own = url in ("", "bundled")
    if not is_wanted(context, "use_cloud") or not (is_wanted(context, "use_server") if asked else own):
        return []
    command = [ExecutableInPackage("edgevlm", "edgevlm_ros"), "serve"]
    known: list[Action] = []
    if own:
        port = str(free_port())
        command += ["--port", port]
        known = [SetLaunchConfiguration("cloud_url", "bundled"), SetLaunchConfiguration(BUNDLED_PORT, port)]
    return [*known, ExecuteProcess(cmd=command, on_exit=end_launch_on_error, output="screen")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(
            name, default_value=default, description=description, choices=choices[0] if choices else None
        )
        for name, (default, description, *choices) in ARGUMENTS.items()
    ]
    robot = IncludeLaunchDescription(str(share_dir() / "launch" / "edgevlm.launch.py"))
    return LaunchDescription(
        [
            *declared,
            *(OpaqueFunction(function=function) for function in (camera, server)),
            robot,
            OpaqueFunction(function=player),
        ]
    )

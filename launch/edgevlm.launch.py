# SPDX-License-Identifier: Apache-2.0
"""The robot: the edge node and the cloud bridge on one camera or several; a recorder and RViz if asked for.

An argument that is not given leaves its parameter to params_file; two launches in two namespaces are two robots.
"""

from typing import List  # noqa: UP035 (what launch_ros compares with)

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.launch_context import LaunchContext
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from edgevlm_ros.assets import bundled, settings_files, share_dir
from edgevlm_ros.launch_arguments import BUNDLED_PORT, TRUTH, cameras, dds_profile, robot, unmatched, views, wanted
from edgevlm_ros.launch_exit import end_launch

NOT_GIVEN_OR_TRUTH = ["", *TRUTH]
MODELS = ", ".join([*bundled("models"), *settings_files("models")])

# name: default, description, choices. Empty stands for "not given".
ARGUMENTS: dict = {
    "namespace": ("", "Namespace of the nodes and of their topics."),
    "cameras": ("", "Names of several cameras of one edge node, separated by commas: namespaces of their topics."),
    "params_file": (str(share_dir() / "config" / "edgevlm.yaml"), "Parameters of the nodes; other arguments win."),
    "use_sim_time": ("", "Take the time from /clock.", NOT_GIVEN_OR_TRUTH),
    "autostart": ("", "Configure and activate the nodes at start.", NOT_GIVEN_OR_TRUTH),
    "log_level": ("info", "What the nodes say.", ["debug", "info", "warn", "error", "fatal"]),
    "use_respawn": ("false", "Start a node again 2 s after it has ended.", TRUTH),
    "image_topic": ("", "The camera's image topic; with cameras, relative to each."),
    "image_transport": ("", "Which of the camera's topics to take.", ["", "raw", "compressed"]),
    "question": ("", "What is asked of every frame."),
    "edge_model": ("", f"The model on the robot: one of {MODELS}; a folder in Hugging Face layout; or a hub id."),
    "edge_quantization": ("", "Weights of its language model, by bitsandbytes.", ["", "auto", "none", "nf4", "int8"]),
    "focus_mode": ("", "none, or some of attention, prune, crop, overlay, text, joined by +."),
    "use_cloud": ("true", "Start the cloud bridge; without it the edge model is alone.", TRUTH),
    "cloud_url": ("", f"An OpenAI-compatible server's URL, or one of {', '.join(settings_files('clouds'))}."),
    "cloud_model": ("", "Name of the model at that server."),
    "cloud_key_env": ("", "Environment variable that holds the server's key."),
    "cloud_upload": ("", "What goes up of a keyframe: the picture, or features of it.", ["", "image", "features"]),
    "cloud_eyes": ("", "Whose eyes make the features: the model that the server runs, bundled, a folder or a hub id."),
    "cloud_allow_http": ("", "Let frames go to another machine unencrypted, by http.", NOT_GIVEN_OR_TRUTH),
    "record": ("false", "Keep what the nodes say in a bag that survives a crash and a full disk.", TRUTH),
    "record_to": ("", "Folder of the record, with %Y, %m, ... for the time; else a new one in ~/edgevlm_records."),
    "record_images": ("", "Keep the camera's compressed images and camera_info too.", NOT_GIVEN_OR_TRUTH),
    "use_rviz": ("false", "Show camera, overlay and focus map in RViz.", TRUTH),
    "rviz_config": (str(share_dir() / "rviz" / "edgevlm.rviz"), "What RViz shows."),
}


def profile(context: LaunchContext) -> list[Action]:
    """Shared memory that holds raw images, for all that this launch starts."""
    return [SetEnvironmentVariable(name, value) for name, value in dds_profile(context.environment).items()]


def nodes(context: LaunchContext) -> list[Node]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    given[BUNDLED_PORT] = context.launch_configurations.get(BUNDLED_PORT, "")
    starts = robot(given)
    for warning in unmatched(starts):
        get_logger("edgevlm").warning(warning)
    return [
        Node(
            package="edgevlm_ros",
            executable=start.node,
            name=start.node,
            namespace=start.namespace,
            parameters=[*map(str, start.files), *typed(start.parameters)],
            remappings=start.remappings,
            ros_arguments=["--log-level", given["log_level"]],
            respawn=wanted(given, "use_respawn"),
            respawn_delay=2.0,
            on_exit=end_launch,
            output="screen",
        )
        for start in starts
    ] + rviz(given, starts)


def rviz(given: dict[str, str], starts: list) -> list[Node]:
    """A window for each camera, if asked for and installed."""
    if not wanted(given, "use_rviz"):
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        get_logger("edgevlm").error(
            "use_rviz: RViz is not installed here, all else starts: sudo apt install ros-$ROS_DISTRO-rviz2"
        )
        return []
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=view.namespace,
            arguments=["-d", given["rviz_config"]],
            parameters=[{"use_sim_time": wanted(given, "use_sim_time")}],
            remappings=view.remappings,
        )
        for view in views(starts, cameras(given["cameras"]))
    ]


def typed(parameters: dict) -> list[dict[str, ParameterValue]]:
    """Values as they are: launch would read a question as YAML."""
    kinds = {bool: bool, str: str, list: List[str]}  # noqa: UP006
    values = {name: ParameterValue(value, value_type=kinds[type(value)]) for name, value in parameters.items()}
    return [values] if values else []


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(
            name, default_value=default, description=description, choices=choices[0] if choices else None
        )
        for name, (default, description, *choices) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, *(OpaqueFunction(function=function) for function in (profile, nodes))])

# SPDX-License-Identifier: Apache-2.0
"""The robot: the edge node and the cloud bridge on one camera, and RViz if asked for."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = {
    "namespace": ("", "Namespace of the nodes and of their topics."),
    "params_file": (
        PathJoinSubstitution([FindPackageShare("edgevlm_ros"), "config", "edgevlm.yaml"]),
        "Parameters of the nodes; the arguments below come on top.",
    ),
    "use_sim_time": ("false", "Take the time from /clock."),
    "autostart": ("true", "Configure and activate the nodes at start."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
    "image_topic": ("image", "The camera's image topic, without /compressed."),
    "image_transport": ("raw", "raw or compressed."),
    "question": ("Where is the person?", "What is asked of every frame."),
    "model": ("micro_svlm", "The edge model: a bundled one, a folder or a hub id."),
    "focus_mode": ("crop", "none, or some of attention, prune, crop, overlay, text, joined by +."),
    "cloud_url": ("http://127.0.0.1:8765/v1", "An OpenAI-compatible server; `edgevlm serve` starts the bundled one."),
    "cloud_model": ("", "Name of the model at that server; empty for the first it lists."),
    "cloud_key_env": ("", "Environment variable that holds the server's key."),
    "use_rviz": ("false", "Show camera, overlay and focus map in RViz."),
}


def generate_launch_description() -> LaunchDescription:
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}

    def text(name: str) -> ParameterValue:
        return ParameterValue(value[name], value_type=str)

    shared = {
        "use_sim_time": ParameterValue(value["use_sim_time"], value_type=bool),
        "autostart": ParameterValue(value["autostart"], value_type=bool),
        "image_transport": text("image_transport"),
    }
    own = {
        "edge_node": {"question": text("question"), "model": text("model"), "focus.mode": text("focus_mode")},
        "cloud_bridge_node": {
            "base_url": text("cloud_url"),
            "model": text("cloud_model"),
            "api_key_env": text("cloud_key_env"),
        },
    }
    nodes = [
        Node(
            package="edgevlm_ros",
            executable=name,
            name=name,
            namespace=value["namespace"],
            parameters=[value["params_file"], shared, parameters],
            remappings=[("image", value["image_topic"])],
            arguments=["--ros-args", "--log-level", value["log_level"]],
            output="screen",
        )
        for name, parameters in own.items()
    ]
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=value["namespace"],
        arguments=["-d", PathJoinSubstitution([FindPackageShare("edgevlm_ros"), "rviz", "edgevlm.rviz"])],
        remappings=[("image", value["image_topic"])],
        condition=IfCondition(value["use_rviz"]),
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, *nodes, rviz])

# SPDX-License-Identifier: Apache-2.0
"""A bag instead of a robot: the player and the embedded cloud server beside what edgevlm.launch.py starts."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare

from edgevlm_ros.assets import bag_path
from edgevlm_ros.bags import BagReader

ARGUMENTS = {
    "bag": ("demo", "A rosbag2 folder, or the name of a bundled bag."),
    "rate": ("1.0", "Speed of playing."),
    "loop": ("false", "Begin again at the end."),
    "question": ("", "What is asked of every frame; empty leaves it to the bag's own questions."),
    "use_server": ("true", "Start the bundled cloud model's server; false if cloud_url names another one."),
    "cloud_url": ("http://127.0.0.1:8765/v1", "An OpenAI-compatible server."),
}


def robot(context: LaunchContext) -> list[IncludeLaunchDescription]:
    """The nodes of edgevlm.launch.py on the camera that the bag has."""
    with BagReader(bag_path(LaunchConfiguration("bag").perform(context))) as bag:
        images = bag.image_topic()
    compressed = images.type.endswith("CompressedImage")
    arguments = {
        "use_sim_time": "true",
        "image_topic": images.name.removesuffix("/compressed"),
        "image_transport": "compressed" if compressed else "raw",
        "question": LaunchConfiguration("question"),
        "cloud_url": LaunchConfiguration("cloud_url"),
    }
    path = PathJoinSubstitution([FindPackageShare("edgevlm_ros"), "launch", "edgevlm.launch.py"])
    return [IncludeLaunchDescription(path, launch_arguments=arguments.items())]


def generate_launch_description() -> LaunchDescription:
    player = Node(
        package="edgevlm_ros",
        executable="bag_player_node",
        parameters=[
            {
                "bag": ParameterValue(LaunchConfiguration("bag"), value_type=str),
                "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                "wait_for_subscribers": 2,  # the edge node and the bridge
            }
        ],
        output="screen",
    )
    server = ExecuteProcess(
        cmd=[ExecutableInPackage("edgevlm", "edgevlm_ros"), "serve", "--port", "8765"],
        output="screen",
        condition=IfCondition(LaunchConfiguration("use_server")),
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, server, OpaqueFunction(function=robot), player])

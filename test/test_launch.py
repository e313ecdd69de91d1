# SPDX-License-Identifier: Apache-2.0
"""The launch files, where ROS 2's launch is installed."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("launch_ros", reason="ROS 2's launch and launch_ros are not installed here")

from launch.actions import DeclareLaunchArgument
from launch_ros.actions import Node

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
EXECUTABLES = re.findall(r'"(\w+) = edgevlm_ros', (ROOT / "setup.py").read_text())


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.name.replace(".", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entities(path: Path, kind: type) -> list[Any]:
    return [entity for entity in load(path).generate_launch_description().entities if isinstance(entity, kind)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_argument_has_a_default_and_a_description(path: Path) -> None:
    arguments = entities(path, DeclareLaunchArgument)
    assert arguments
    assert all(argument.default_value is not None and argument.description for argument in arguments)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nodes_are_executables_of_the_package(path: Path) -> None:
    for node in entities(path, Node):
        if node.node_package == "edgevlm_ros":
            assert node.node_executable in EXECUTABLES

# SPDX-License-Identifier: Apache-2.0
"""What package.xml, setup.py and colcon_defaults.yaml promise is there."""

import ast
import importlib.util
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SCRIPTS = re.findall(r'"(\w+) = ([\w.]+):(\w+)"', (ROOT / "setup.py").read_text())
ROS = re.compile(r"rclpy|launch|launch_ros|cv_bridge|ament_index_python|builtin_interfaces|rcl_interfaces|\w+_msgs")


def imported(file: Path) -> set[str]:
    """Top-level packages that a file imports."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}


def test_every_ros_package_that_is_imported_is_a_dependency() -> None:
    files = [*(ROOT / "src" / "edgevlm_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    used = {name for file in files for name in imported(file) if ROS.fullmatch(name)}
    tags = ElementTree.parse(ROOT / "package.xml").getroot()
    assert used - {tag.text for tag in tags if tag.tag.endswith("depend")} == set()


@pytest.mark.parametrize(("name", "module", "function"), SCRIPTS)
def test_console_script_has_its_function(name: str, module: str, function: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    definitions = ast.parse(Path(spec.origin).read_text()).body
    assert function in [node.name for node in definitions if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("verb", ["list", "build", "test"])
def test_plain_colcon_finds_both_packages(verb: str) -> None:
    paths = yaml.safe_load((ROOT / "colcon_defaults.yaml").read_text())[verb]["base-paths"]
    names = [ElementTree.parse(ROOT / path / "package.xml").findtext("name") for path in paths]
    assert names == ["edgevlm_ros", "edgevlm_msgs"]


def test_versions_agree() -> None:
    files = [ROOT / "package.xml", ROOT / "src" / "edgevlm_msgs" / "package.xml"]
    versions = {ElementTree.parse(file).findtext("version") for file in files}
    (of_setup,) = re.findall(r'version="(.*?)"', (ROOT / "setup.py").read_text())
    assert versions == {of_setup}

# SPDX-License-Identifier: Apache-2.0
"""What package.xml, setup.py and colcon_defaults.yaml promise is there."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import venv
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

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


def test_a_build_that_does_not_know_the_messages_ends_with_what_to_do(tmp_path: Path) -> None:
    """As of a foreign workspace, where colcon finds edgevlm_ros alone."""

    def build(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "AMENT_PREFIX_PATH": str(tmp_path)}
        command = [sys.executable, ROOT / "setup.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)

    assert build("--name").stdout.splitlines()[-1] == "edgevlm_ros"  # colcon asks for it before anything is built
    for verb in ("install", "develop"):
        refused = build("--help", verb)
        assert refused.returncode == 1
        assert f"--base-paths src {ROOT / 'src' / 'edgevlm_msgs'}" in refused.stderr.splitlines()[-1]
    (tmp_path / "share" / "edgevlm_msgs").mkdir(parents=True)
    (tmp_path / "share" / "edgevlm_msgs" / "package.xml").touch()
    assert build("--help", "install").returncode == 0


def test_versions_agree() -> None:
    files = [ROOT / "package.xml", ROOT / "src" / "edgevlm_msgs" / "package.xml"]
    versions = {ElementTree.parse(file).findtext("version") for file in files}
    (of_setup,) = re.findall(r'version="(.*?)"', (ROOT / "setup.py").read_text())
    assert versions == {of_setup}


FROM_ROSDEP = {
    "cv2": "python3-opencv",
    "jinja2": "python3-jinja2",
    "matplotlib": "python3-matplotlib",
    "numpy": "python3-numpy",
    "packaging": "python3-packaging",
    "PIL": "python3-pil",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
"""Modules and their keys in rosdep/python.yaml of ros/rosdistro, where each is a Debian package of Humble's Ubuntu
22.04 and of 24.04."""

OF_ANOTHER = {
    "apsw": "rosbags",
    "backports": "rosbags",
    "huggingface_hub": "transformers",
    "lz4": "rosbags",
    "markupsafe": "jinja2",
    "tokenizers": "transformers",
}
EXTRA = {"mujoco", "ray"}  # requirements/world.txt and evaluate.txt


def requirements(name: str) -> dict[str, Requirement]:
    lines = (
        line.partition("#")[0].strip() for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    )
    found = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {requirement.name: requirement for requirement in found}


def test_every_python_package_that_is_imported_comes_from_rosdep_or_from_robot_txt() -> None:
    files = (ROOT / "src" / "edgevlm_ros").rglob("*.py")
    own = {*sys.stdlib_module_names, "compression", "edgevlm_ros"}  # compression: of Python 3.14 on
    used = {name for file in files for name in imported(file)} - own
    used = {OF_ANOTHER.get(name, name) for name in used if not ROS.fullmatch(name)} - EXTRA
    keys = {tag.text for tag in ElementTree.parse(ROOT / "package.xml").getroot()}
    from_rosdep = {module for module, key in FROM_ROSDEP.items() if key in keys}
    assert used - from_rosdep - set(requirements("robot")) == {"torch"}  # which each platform has its own of


def test_no_key_of_rosdep_installs_with_pip() -> None:
    keys = [tag.text or "" for tag in ElementTree.parse(ROOT / "package.xml").getroot()]
    assert not [key for key in keys if key.endswith("-pip")]


def test_the_robots_requirements_hold_what_is_tested_here_and_keep_numpy_1() -> None:
    pinned = requirements("run")
    for name, requirement in requirements("robot").items():
        versions = [each.version for each in pinned[name].specifier if each.operator in ("==", ">=")]
        assert requirement.specifier.contains(max(versions, key=Version)), name
    assert "-c constraints.txt" in (ROOT / "requirements" / "robot.txt").read_text().splitlines()
    assert not requirements("constraints")["numpy"].specifier.contains("2.0.0")


def test_requirements_are_installed_with_the_package() -> None:
    assert '"requirements"' in re.findall(r"^DATA = .*$", (ROOT / "setup.py").read_text(), re.MULTILINE)[0]


@pytest.mark.parametrize("option", [[], ["--symlink-install"]], ids=["copied", "linked"])
def test_console_scripts_run_with_the_environment_whose_python_runs_colcon(option: list[str], tmp_path: Path) -> None:
    """As on a robot (docs/install.md): a virtual environment, and ROS and colcon from elsewhere by PYTHONPATH."""
    colcon = pytest.importorskip("colcon_core", reason="colcon is not installed for this Python")
    venv.create(tmp_path / "environment", system_site_packages=True, with_pip=False)
    python = tmp_path / "environment" / "bin" / "python"
    (tmp_path / "workspace").mkdir()
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(colcon.__file__).parents[1]),
        "AMENT_PREFIX_PATH": os.environ.get("AMENT_PREFIX_PATH", sys.prefix),
        "COLCON_HOME": str(tmp_path),
    }
    subprocess.run(
        [python, "-m", "colcon", "build", *option, "--base-paths", ROOT, "--packages-select", "edgevlm_ros"],
        cwd=tmp_path / "workspace",
        env=env,
        check=True,
        capture_output=True,
    )
    installed = tmp_path / "workspace" / "install" / "edgevlm_ros"
    for name, _, _ in SCRIPTS:
        first = (installed / "lib" / "edgevlm_ros" / name).read_text().splitlines()[0]
        assert first == f"#!{python}"
    assert (installed / "share" / "edgevlm_ros" / "requirements" / "robot.txt").is_file()

# SPDX-License-Identifier: Apache-2.0
"""What can be told of the container files without building them."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
SCRIPTS = re.findall(r'"(\w+) = edgevlm_ros', (ROOT / "setup.py").read_text())
DOCS = ROOT / "docs" / "install.md"

IN_ROS_CORE = {
    *("ament_index_python", "launch", "launch_ros", "lifecycle_msgs", "rclpy", "rcl_interfaces", "rosgraph_msgs"),
    *("action_msgs", "builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "sensor_msgs", "std_msgs", "std_srvs"),
    *("ament_cmake", "rosidl_default_generators", "rosidl_default_runtime"),
}
"""Of what we need, what the metapackage ros_core and its common_interfaces bring (REP 2001)."""

LEFT_OUT = {"cv_bridge"}
"""Too large for an image; see requirements/container.txt."""


def steps(file: Path) -> list[tuple[str, str]]:
    """(instruction, its arguments in a line) of a Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]


def arguments(file: Path, instruction: str) -> list[str]:
    return [rest for word, rest in steps(file) if word == instruction]


def sent(path: str) -> bool:
    """Whether .dockerignore lets a path into the build; the last pattern that matches decides."""
    inside = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").rstrip("/")
        anywhere = pattern.startswith("**/")
        parts = Path(path).parts if anywhere else [path, *map(str, Path(path).parents)]
        matches = any(fnmatch.fnmatch(part, pattern.removeprefix("**/")) for part in parts)
        if matches and line and not line.startswith("#"):
            inside = line.startswith("!")
    return inside


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_is_copied_from_here_exists_and_is_sent(file: Path) -> None:
    copied = [rest.split() for rest in arguments(file, "COPY") if "--from" not in rest]
    assert copied
    for words in copied:
        *sources, _ = (word for word in words if not word.startswith("--"))
        for source in sources:
            assert (ROOT / source).exists()
            assert source == "." or sent(source)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_image_runs_what_is_installed_as_a_user_of_its_own(file: Path) -> None:
    last = max(at for at, (word, _) in enumerate(steps(file)) if word == "FROM")
    final = dict(steps(file)[last:])
    assert final["USER"] not in ("", "root", "0")
    assert ast.literal_eval(final["ENTRYPOINT"]) == ["/entrypoint.sh"]
    tool, verb, package, name = ast.literal_eval(final["CMD"])
    assert (tool, verb, package) == ("ros2", "launch", "edgevlm_ros")
    assert (ROOT / "launch" / name).is_file()
    assert "VOLUME" in final


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_layer_keeps_what_only_its_making_needed(file: Path) -> None:
    for run in arguments(file, "RUN"):
        if "apt-get install" in run:
            assert run.count("apt-get install -y --no-install-recommends") == run.count("apt-get install")
            assert "rm -rf /var/lib/apt/lists/*" in run
        if "pip" in run:
            assert any("PIP_NO_CACHE_DIR=1" in rest for rest in arguments(file, "ENV"))
        assert "sudo" not in run
        assert "curl" not in run or "-f" in run or "install" in run
    assert not arguments(file, "ADD")
    assert len(arguments(file, "FROM")) > 1
    assert not any(rest.split()[0].endswith(":latest") or rest.startswith("HEAD") for rest in arguments(file, "FROM"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_scripts_get_the_python_that_has_torch(file: Path) -> None:
    (build,) = (run for run in arguments(file, "RUN") if "colcon" in run and "apt-get" not in run)
    assert '"${VENV}/bin/python" -m colcon' in build
    paths = re.findall(r"--base-paths (.*?) --", build)[0].split()
    assert [ElementTree.parse(ROOT / path / "package.xml").findtext("name") for path in paths] == [
        "edgevlm_ros",
        "edgevlm_msgs",
    ]
    assert any("--system-site-packages" in run for run in arguments(file, "RUN"))


def test_ros_core_and_the_wheels_bring_all_that_the_packages_need() -> None:
    needed = {
        str(tag.text)
        for folder in (ROOT, ROOT / "src" / "edgevlm_msgs")
        for tag in ElementTree.parse(folder / "package.xml").getroot()
        if tag.tag.endswith("depend") and tag.tag != "test_depend"
    }
    python = {name for name in needed if name.startswith("python3-")}
    assert needed - python - IN_ROS_CORE - LEFT_OUT - {"edgevlm_msgs"} == set()
    files = (ROOT / "requirements" / "container.txt", ROOT / "requirements" / "robot.txt")
    lines = "\n".join(file.read_text() for file in files).splitlines()
    wheels = {re.split(r"[^\w-]", line)[0] for line in lines}
    named = {"python3-opencv": "opencv-python-headless", "python3-pil": "pillow", "python3-yaml": "pyyaml"}
    assert {named.get(name, name.removeprefix("python3-")) for name in python} - {"venv"} <= wheels


def test_neither_history_nor_results_are_sent() -> None:
    assert sent("src/edgevlm_ros/cli.py")
    assert sent("models/micro_svlm/model.safetensors")
    assert not any(
        map(sent, (".git/config", ".venv/bin/python", "runs/demo/report.html", "test/conftest.py", "README.md"))
    )
    assert not sent("src/edgevlm_ros/__pycache__/cli.cpython-312.pyc")


def test_the_entrypoint_can_be_run() -> None:
    assert os.access(ROOT / "docker" / "entrypoint.sh", os.X_OK)


def test_the_documentation_names_files_scripts_and_arguments_that_exist() -> None:
    text = DOCS.read_text()
    for file in re.findall(r"-f (docker/\S+)", text) + re.findall(r"requirements/\w+\.txt", text):
        assert (ROOT / file).is_file(), file
    assert set(re.findall(r"ros2 run edgevlm_ros (\w+)", text)) <= set(SCRIPTS)
    for name in re.findall(r"ros2 launch edgevlm_ros (\S+)", text):
        assert (ROOT / "launch" / name).is_file()
    for file, argument in re.findall(r"-f (docker/\S+).*?--build-arg (\w+)=", text):
        assert argument in [rest.partition("=")[0] for rest in arguments(ROOT / file, "ARG")]

# SPDX-License-Identifier: Apache-2.0
"""Is all installed, in versions that work, and do the nodes run with the Python that has it?

A robot has at least two Pythons: the one of ROS and the environment that holds torch. Most of what goes wrong at the
start is one of them used for the other (docs/install.md).
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from edgevlm_ros.assets import AssetError, share_dir
from edgevlm_ros.doctor.finding import Finding, fail, ok, warn
from edgevlm_ros.doctor.trial import Trial, attempt

OF_DISTRIBUTION = {"humble": "3.10", "iron": "3.10", "jazzy": "3.12", "kilted": "3.12"}
"""The Python that each distribution's packages are built for."""

FROM_ROSDEP = ("numpy", "cv2", "PIL", "yaml", "packaging")
"""Modules that package.xml asks rosdep for; the rest is in requirements/robot.txt."""

_MODULES = {"pillow": "PIL"}
_DISTRIBUTIONS = {"cv2": ("opencv-python-headless", "opencv-python", "opencv"), "PIL": ("pillow",), "yaml": ("pyyaml",)}
_OPTIONAL = {"bitsandbytes": "only `quantization` needs it"}
_IMPORTS = {"transformers": "from transformers import AutoConfig, AutoModelForImageTextToText"}
_NAME = re.compile(r"[\w.-]+")
_INSTALL = "docs/install.md has the commands"
_REBUILD = (
    "activate the environment that has torch and build with its Python: rm -rf build install; python -m colcon build "
    "(docs/install.md)"
)
_BRIDGE = """
import numpy as np
from cv_bridge import CvBridge
bridge = CvBridge()
image = bridge.cv2_to_imgmsg(np.zeros((2, 2, 3), np.uint8), "bgr8")
assert bridge.imgmsg_to_cv2(image, "rgb8").shape == (2, 2, 3)
say(np.__version__)
"""
_MESSAGES = """
from rclpy.type_support import check_for_type_support
from edgevlm_msgs.action import Ask
from edgevlm_msgs.msg import Answer
check_for_type_support(Answer)
say(True)
"""
_ROS = "import rclpy; say(rclpy.get_rmw_implementation_identifier())"


def check() -> Iterator[Finding]:
    wanted = requirements()
    imports = [*FROM_ROSDEP, *(_module(line) for line in wanted), "torch"]
    code = {module: f"{_IMPORTS.get(module, f'import {module}')}\nsay(True)" for module in imports}
    code |= {"rclpy": _ROS, "edgevlm_msgs": _MESSAGES, "cv_bridge": _BRIDGE}
    with ThreadPoolExecutor(4) as pool:
        trials = dict(zip(code, pool.map(attempt, code.values()), strict=True))
    in_venv, active = sys.prefix != sys.base_prefix, os.environ.get("VIRTUAL_ENV", "")
    yield interpreter(sys.version_info[:2], in_venv, active, not trials["torch"].error)
    yield ros(trials["rclpy"], os.environ.get("ROS_DISTRO", ""), sys.version_info[:2], installed_distributions())
    yield messages(trials["edgevlm_msgs"])
    for module in FROM_ROSDEP:
        yield from_rosdep(module, trials[module])
    yield bridge(trials["cv_bridge"])
    if not wanted:
        yield warn("requirements", "requirements/robot.txt is not installed", "build the package again")
    for line in ("torch", *wanted):
        yield requirement(line, trials[_module(line)])
    yield scripts(find_script("edge_node"))
    yield data()


def interpreter(version: tuple[int, ...], in_venv: bool, active: str, has_torch: bool) -> Finding:
    """The Python that runs this, and the nodes. active: VIRTUAL_ENV of the shell."""
    words = f"Python {'.'.join(map(str, version))}, {sys.executable}{' (a virtual environment)' if in_venv else ''}"
    if version < (3, 10):
        return fail("interpreter", words, "take Python 3.10 or later: that of ROS 2 Humble or newer")
    if not in_venv and not has_torch:
        other = f"; {active} is active in this shell" if active else ""
        found = f"{words}, without torch, and scripts run with the Python that built them{other}"
        return fail("interpreter", found, _REBUILD)
    return ok("interpreter", words)


def ros(trial: Trial, distro: str, version: tuple[int, ...], there: Sequence[str]) -> Finding:
    """trial: of importing rclpy. distro: ROS_DISTRO. there: setup files of distributions on this machine."""
    if not trial.error:
        return ok("ROS", f"{distro or 'not sourced, but rclpy imports'}, {trial.value}")
    here = ".".join(map(str, version))
    built_for = OF_DISTRIBUTION.get(distro, here)
    if built_for != here:
        return fail(
            "ROS",
            f"{distro} is built for Python {built_for}, this is {here} ({trial.error})",
            f"make the virtual environment with /usr/bin/python3 ({_INSTALL})",
        )
    if distro:
        return fail(
            "ROS", f"{distro} is sourced, but rclpy fails: {trial.error}", "sudo apt install the ros-base of it"
        )
    if there:
        return fail("ROS", "not sourced in this shell", " or ".join(f"source {path}" for path in there))
    return fail(
        "ROS", f"not installed ({trial.error})", f"install ROS 2 Humble or newer; without: `make setup`; {_INSTALL}"
    )


def installed_distributions() -> list[str]:
    return sorted(map(str, Path("/opt/ros").glob("*/setup.bash")))


def messages(trial: Trial) -> Finding:
    """trial: of loading our messages down to their type support."""
    if not trial.error:
        return ok("edgevlm_msgs", "its messages load")
    fix = (
        "build both packages and source install/setup.bash in this shell: `python -m colcon build` in the repository, "
        "which is a workspace of its own; in another workspace colcon does not look below its package.xml: "
        "python -m colcon build --base-paths src REPOSITORY/src/edgevlm_msgs"
    )
    missing = "not found in this shell" if "edgevlm_msgs'" in trial.error else trial.error
    return fail("edgevlm_msgs", missing, fix)


def from_rosdep(module: str, trial: Trial) -> Finding:
    if not trial.error:
        return ok(module, _version(module) or "imports")
    return fail(module, trial.error, "rosdep install --from-paths . src/edgevlm_msgs --ignore-src -y")


def bridge(trial: Trial) -> Finding:
    """trial: of converting a picture with cv_bridge, which is the NumPy's version."""
    if not trial.error:
        return ok("cv_bridge", f"converts with NumPy {trial.value}")
    if "No module named 'cv_bridge'" in trial.error:
        return warn(
            "cv_bridge",
            "not installed: images are converted by OpenCV",
            "with an installed ROS: rosdep install --from-paths . src/edgevlm_msgs --ignore-src -y",
        )
    return warn(
        "cv_bridge",
        f"fails with NumPy {_version('numpy')} ({trial.error}): images are converted by OpenCV",
        "pip install -r requirements/robot.txt, which keeps NumPy at the distribution's major version",
    )


def requirements() -> list[str]:
    """The lines of requirements/robot.txt, without comments and options; empty if it is not there."""
    try:
        text = (share_dir() / "requirements" / "robot.txt").read_text()
    except (OSError, AssetError):
        return []
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def requirement(line: str, trial: Trial) -> Finding:
    """A line of a requirements file against what is installed. trial: of importing it."""
    name = _NAME.match(line)[0]  # type: ignore[index]
    level = partial(warn if name in _OPTIONAL else fail, name)
    why = f" ({_OPTIONAL[name]})" if name in _OPTIONAL else ""
    fix = "your platform's: docs/install.md" if name == "torch" else f"pip install '{line}' (docs/install.md)"
    version = _version(name)
    if not version:
        return level(f"not installed{why}", fix)
    if needed := _not_met(line, version):
        return level(f"{version}, but {needed} is needed{why}", fix)
    if trial.error:
        return level(f"{version}, but it does not import: {trial.error}{why}", fix)
    return ok(name, version)


def find_script(name: str) -> Path | None:
    """The console script that `ros2 run` starts, or the one of this environment; None if there is none."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    built = [Path(prefix) / "lib" / "edgevlm_ros" / name for prefix in prefixes if prefix]
    return next((file for file in (*built, Path(sys.prefix) / "bin" / name) if file.is_file()), None)


def scripts(script: Path | None) -> Finding:
    """Whether the nodes' scripts run with a Python that has ROS and torch."""
    if script is None:
        return fail(
            "scripts",
            "no edge_node script is installed",
            "build with `python -m colcon build` and source install/setup.bash",
        )
    with script.open("rb") as file:
        first = file.readline(500).decode(errors="replace").strip()
    words = first.removeprefix("#!").split()
    python = shutil.which(words[1]) if words[:1] == ["/usr/bin/env"] and len(words) > 1 else (words or [""])[0]
    if not python:
        return fail("scripts", f"{script} starts with {first!r}, which names no Python", "build the package again")
    if python == sys.executable:
        return ok("scripts", f"run with {python}")
    trial = attempt("import rclpy, torch, transformers; say(True)", python)
    if not trial.error:
        return ok("scripts", f"run with {python}, which has what they need")
    return fail(
        "scripts",
        f"run with {python}, not with {sys.executable}, and it lacks something: {trial.error}",
        _REBUILD,
    )


def data() -> Finding:
    try:
        folder = share_dir()
    except (AssetError, OSError) as error:
        return fail("data", str(error), "build with `python -m colcon build` and source install/setup.bash")
    missing = [name for name in ("config", "launch", "models") if not (folder / name).is_dir()]
    if missing:
        return fail("data", f"{folder} lacks {', '.join(missing)}", "build the package again")
    return ok("data", str(folder))


def _not_met(line: str, version: str) -> str:
    """What the line asks for, if this version is not it; empty if it is, or if nothing here can compare them."""
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        return ""
    wanted = Requirement(line).specifier
    return "" if wanted.contains(version, prereleases=True) else str(wanted)


def _module(line: str) -> str:
    """Name to import for a line of a requirements file."""
    name = _NAME.match(line)[0]  # type: ignore[index]
    return _MODULES.get(name, name.replace("-", "_"))


def _version(name: str) -> str:
    """Of an installed distribution, by its name or its module's; empty if there is none."""
    for distribution in _DISTRIBUTIONS.get(name, (name,)):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""

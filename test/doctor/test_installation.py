# SPDX-License-Identifier: Apache-2.0
"""What is said about Pythons and packages, for installations that are not here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgevlm_ros.doctor import installation
from edgevlm_ros.doctor.trial import Trial

FINE = Trial(True)
MISSING = Trial(error="ModuleNotFoundError: No module named 'rclpy'")


def test_rclpy_of_another_python_is_told_as_such() -> None:
    finding = installation.ros(MISSING, "jazzy", (3, 11), [])
    assert "built for Python 3.12, this is 3.11" in finding.found
    assert "/usr/bin/python3" in finding.fix


def test_a_shell_that_is_not_sourced_is_told_what_to_source() -> None:
    assert (
        installation.ros(MISSING, "", (3, 12), ["/opt/ros/jazzy/setup.bash"]).fix == "source /opt/ros/jazzy/setup.bash"
    )
    assert "install ROS 2" in installation.ros(MISSING, "", (3, 12), []).fix
    assert installation.ros(Trial("rmw_fastrtps_cpp"), "jazzy", (3, 12), []).level == "ok"


def test_messages_that_are_not_built_are_told_how_to_build() -> None:
    finding = installation.messages(Trial(error="ModuleNotFoundError: No module named 'edgevlm_msgs'"))
    assert "python -m colcon build" in finding.fix
    assert "--base-paths src" in finding.fix, "the build of a foreign workspace"


def test_cv_bridge_for_another_numpy_is_to_look_at_and_no_failure() -> None:
    broken = installation.bridge(Trial(error="AttributeError: _ARRAY_API not found"))
    assert broken.level == "warn"
    assert "requirements/robot.txt" in broken.fix
    assert installation.bridge(Trial(error="ModuleNotFoundError: No module named 'cv_bridge'")).level == "warn"
    assert installation.bridge(Trial("1.26.4")).level == "ok"


@pytest.mark.parametrize(
    ("line", "trial", "level", "words"),
    [
        ("numpy>=1.17", FINE, "ok", ""),
        ("numpy<1", FINE, "fail", "<1 is needed"),
        ("no-such-package[extra]>=3,<4", FINE, "fail", "not installed"),
        ("bitsandbytes>=9999", FINE, "warn", "only `quantization`"),
        ("numpy", Trial(error="crashed with signal 11"), "fail", "does not import"),
    ],
)
def test_requirements(line: str, trial: Trial, level: str, words: str) -> None:
    finding = installation.requirement(line, trial)
    assert finding.level == level
    assert words in finding.found


def test_the_robots_requirements_are_read_without_comments_and_options() -> None:
    lines = installation.requirements()
    assert any(line.startswith("transformers[serving]") for line in lines)
    assert not any("#" in line or line.startswith("-") for line in lines)


def script(folder: Path, first: str) -> Path:
    file = folder / "edge_node"
    file.write_text(f"{first}\nimport sys\n")
    return file


def test_scripts_of_this_python_are_fine(tmp_path: Path) -> None:
    assert installation.scripts(script(tmp_path, f"#!{sys.executable}")).level == "ok"


def test_scripts_of_a_python_without_torch_fail_and_say_how_to_build(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1\n")
    python.chmod(0o755)
    finding = installation.scripts(script(tmp_path, f"#!{python}"))
    assert finding.level == "fail"
    assert "'torch'" in finding.found
    assert "python -m colcon build" in finding.fix


def test_scripts_that_are_missing_or_name_no_python_fail(tmp_path: Path) -> None:
    assert installation.scripts(None).level == "fail"
    assert installation.scripts(script(tmp_path, "#!/usr/bin/env no-such-python")).level == "fail"


def test_an_old_python_and_one_without_torch_fail() -> None:
    assert installation.interpreter((3, 8), False, "", True).level == "fail"
    assert installation.interpreter((3, 12), False, "", True).level == "ok"
    assert installation.interpreter((3, 12), True, "", False).level == "ok"
    built_by_another = installation.interpreter((3, 12), False, "/home/me/venv", False)
    assert "/home/me/venv is active" in built_by_another.found
    assert "python -m colcon build" in built_by_another.fix

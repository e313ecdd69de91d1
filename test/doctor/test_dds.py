# SPDX-License-Identifier: Apache-2.0
"""What the shell says about DDS, and what lies in shared memory."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from edgevlm_ros.assets import share_dir
from edgevlm_ros.doctor import dds


@pytest.mark.parametrize(
    ("value", "level"), [("", "ok"), ("42", "ok"), ("110", "warn"), ("233", "fail"), ("-1", "fail"), ("robot", "fail")]
)
def test_domains(value: str, level: str) -> None:
    assert dds.domain(value).level == level


def test_a_middleware_that_does_not_load_names_its_package() -> None:
    assert "ros-$ROS_DISTRO-rmw-zenoh-cpp" in dds.middleware("rmw_zenoh_cpp", None, "RMWNotFound").fix
    assert dds.middleware("", "rmw_fastrtps_cpp", "").level == "ok"


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({}, "ok"),
        ({"ROS_LOCALHOST_ONLY": "1"}, "warn"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, "ok"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, "warn"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "HOUSE"}, "fail"),
    ],
)
def test_ranges_of_discovery(environ: dict[str, str], level: str) -> None:
    assert dds.discovery(environ).level == level


def test_a_shell_without_the_profile_is_told_where_it_is() -> None:
    finding = dds.profile({})
    assert finding.level == "warn"
    assert f"={share_dir() / 'config' / 'fastdds.xml'}" in finding.fix


def test_the_packages_profile_has_room(tmp_path: Path) -> None:
    good = share_dir() / "config" / "fastdds.xml"
    assert dds.profile({"FASTRTPS_DEFAULT_PROFILES_FILE": str(good)}).level == "ok"
    small = tmp_path / "small.xml"
    small.write_text(good.read_text().replace("33554432", "524288"))
    assert dds.profile({"FASTDDS_DEFAULT_PROFILES_FILE": str(small)}).level == "warn"


@pytest.mark.parametrize("text", [None, "<profiles>", "<a><segment_size>much</segment_size></a>"])
def test_a_profile_that_is_none_fails(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "profile.xml"
    if text is not None:
        file.write_text(text)
    assert dds.profile({"FASTRTPS_DEFAULT_PROFILES_FILE": str(file)}).level == "fail"


def test_segments_of_the_dead_are_counted_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"fastrtps_{number:04}").touch()
        (tmp_path / f"fastrtps_{number:04}_el").touch()
    with (tmp_path / "fastrtps_0007_el").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        finding = dds.leftovers(tmp_path)
    assert finding.level == "warn"
    assert finding.found.startswith("59 of 60")
    assert finding.fix == "fastdds shm clean"


def test_a_containers_64_megabytes_are_little() -> None:
    assert "--ipc host" in dds.room(64 * 2**20, 60 * 2**20).fix

# SPDX-License-Identifier: Apache-2.0
"""Where and with what a figure was measured, for it means nothing without."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

TEGRA_RELEASE = Path("/etc/nv_tegra_release")
"""There on a Jetson, and nowhere else."""

_PACKAGES = ("edgevlm_ros", "torch", "transformers", "rclpy", "rosbags", "numpy")


def machine() -> dict[str, str]:
    """The computer, in words."""
    return {
        "cpu": f"{_processor()}, {len(os.sched_getaffinity(0))} cores to use",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def versions() -> dict[str, str]:
    """Of the packages that the figures depend on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def available_memory() -> int:
    """Bytes that a new process may take without anything being pushed out."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    kilobytes = (int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    available = next(kilobytes, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024) * 1024
    try:  # of a container
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        return min(available, limit - used)
    except (OSError, ValueError):  # none, or "max"
        return available


def total_memory() -> int:
    """Bytes that this machine, or the container that this process is in, has at all."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # none, or "max"
        return total


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())

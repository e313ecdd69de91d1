# SPDX-License-Identifier: Apache-2.0
"""Will the nodes find each other, and do whole images get from one process to the next?"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgevlm_ros.assets import share_dir
from edgevlm_ros.doctor.finding import Finding, fail, ok, warn
from edgevlm_ros.doctor.trial import attempt

SHARED_MEMORY = Path("/dev/shm")
PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Variables that name a Fast DDS profile: the first from Kilted on, the second before."""

_HIGHEST_DOMAIN, _SAFE_DOMAINS = 232, (*range(102), *range(215, 233))  # others meet Linux' ephemeral ports
_FRAME = 640 * 480 * 3
_LITTLE_SHARED = 256 * 2**20
_MANY_LEFT = 50
_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")


def check() -> Iterator[Finding]:
    environ = os.environ
    trial = attempt("import rclpy; say(rclpy.get_rmw_implementation_identifier())")
    yield domain(environ.get("ROS_DOMAIN_ID", ""))
    yield middleware(environ.get("RMW_IMPLEMENTATION", ""), trial.value, trial.error)
    yield discovery(environ)
    if "fastrtps" in str(trial.value or environ.get("RMW_IMPLEMENTATION", "fastrtps")):
        yield profile(environ)
        yield leftovers(SHARED_MEMORY)
    if SHARED_MEMORY.is_dir():
        usage = shutil.disk_usage(SHARED_MEMORY)
        yield room(usage.total, usage.free)


def domain(value: str) -> Finding:
    """value: of ROS_DOMAIN_ID."""
    name = "domain"
    if not value:
        return ok(name, "0 (ROS_DOMAIN_ID is not set)")
    if not value.isascii() or not value.isdigit() or int(value) > _HIGHEST_DOMAIN:
        return fail(
            name, f"ROS_DOMAIN_ID is {value!r}", f"a number from 0 to {_HIGHEST_DOMAIN}, the same in every shell"
        )
    if int(value) not in _SAFE_DOMAINS:
        return warn(name, value, "take one from 0 to 101: this one's ports may be taken by outgoing connections")
    return ok(name, f"{value}: other nodes need the same")


def middleware(wanted: str, loaded: str | None, error: str) -> Finding:
    """wanted: RMW_IMPLEMENTATION. loaded: what rclpy names, None if it fails with that error."""
    if loaded:
        return ok("middleware", loaded)
    if not wanted:
        return fail("middleware", f"rclpy does not load: {error}", "see ROS above")
    package = f"ros-$ROS_DISTRO-{wanted.replace('_', '-')}"
    return fail(
        "middleware", f"{wanted} was asked for: {error}", f"sudo apt install {package}, or unset RMW_IMPLEMENTATION"
    )


def discovery(environ: Mapping[str, str]) -> Finding:
    """How far nodes look for each other."""
    name = "discovery"
    if environ.get("ROS_LOCALHOST_ONLY", "0") == "1":
        fix = "unset ROS_LOCALHOST_ONLY if the camera or RViz is on another machine"
        return warn(name, "ROS_LOCALHOST_ONLY=1: this machine only", fix)
    value = environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if not value:
        return ok(name, "the whole subnet")
    if value.upper() not in _RANGES:
        return fail(name, f"ROS_AUTOMATIC_DISCOVERY_RANGE is {value!r}", f"one of {', '.join(_RANGES)}")
    if value.upper() == "OFF":
        return warn(name, "OFF: nodes find only what ROS_STATIC_PEERS names", "unset ROS_AUTOMATIC_DISCOVERY_RANGE")
    return ok(name, f"{value.upper()}{': this machine only' if value.upper() == 'LOCALHOST' else ''}")


def profile(environ: Mapping[str, str]) -> Finding:
    """Whether Fast DDS has shared memory for a raw frame; see config/fastdds.xml."""
    name = "raw images"
    variable = next((each for each in PROFILES if environ.get(each)), "")
    if not variable:
        try:
            file = str(share_dir() / "config" / "fastdds.xml")
        except Exception:
            file = "config/fastdds.xml"
        fix = f"export {PROFILES[1]}={file} here and in the camera's shell; compressed images need nothing"
        return warn(name, "Fast DDS's 512 KiB of shared memory hold no raw 640x480 frame: some get lost", fix)
    path = Path(environ[variable])
    try:
        sizes = [int(each.text or 0) for each in ElementTree.parse(path).iter() if each.tag.endswith("segment_size")]
    except OSError:
        return fail(name, f"{variable} names {path}, which cannot be read", "give it a file that exists, or unset it")
    except (ElementTree.ParseError, ValueError) as error:
        return fail(name, f"{path} is no profile: {error}", "take the package's config/fastdds.xml")
    if max(sizes, default=0) < 2 * _FRAME:
        return warn(
            name, f"{path} gives shared memory no room for two frames", "see segment_size in config/fastdds.xml"
        )
    return ok(name, f"{max(sizes) / 2**20:.0f} MiB of shared memory by {path}")


def leftovers(folder: Path) -> Finding:
    """Segments of processes that were killed: some hundred of them make Fast DDS lose messages."""
    names = {re.sub(r"^sem\.|_(el|sl|mutex)$", "", path.name) for path in folder.glob("*fastrtps_*")}
    left = [name for name in sorted(names) if not _in_use(folder, name)]
    words = f"{len(left)} of {len(names)} segments in {folder} belong to no living process"
    if len(left) > _MANY_LEFT:
        return warn("shared memory", words, "fastdds shm clean")
    return ok("shared memory", words)


def _in_use(folder: Path, name: str) -> bool:
    """A living process holds a lock on each of its own; another user's cannot be told."""
    with contextlib.ExitStack() as locks:
        try:
            for lock in filter(Path.exists, (folder / f"{name}_el", folder / f"{name}_sl")):
                fcntl.flock(locks.enter_context(lock.open()), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def room(total: int, free: int) -> Finding:
    """Bytes of /dev/shm."""
    words = f"{free / 2**20:.0f} of {total / 2**20:.0f} MiB free"
    if free < _LITTLE_SHARED:
        return warn("/dev/shm", words, "each node takes 32 MiB with config/fastdds.xml; in a container: --ipc host")
    return ok("/dev/shm", words)

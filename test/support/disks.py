# SPDX-License-Identifier: Apache-2.0
"""A small disk of a test's own: a tmpfs in a user namespace, which needs no root where the machine allows it."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

_MOUNT = 'mount -t tmpfs -o "$1" none "$2" && shift 2 && exec "$@"'


def on_a_disk(options: str, place: Path, *command: str) -> list[str]:
    """The command that runs this one where `place` is a disk of its own, gone with it. options: such as size=300k."""
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT, "sh", options, str(place), *command]


@functools.cache
def can_mount() -> bool:
    """Whether this machine lets a user mount a disk in a namespace of the own."""
    try:
        return subprocess.run(on_a_disk("size=64k", Path("/mnt"), "true"), capture_output=True).returncode == 0
    except OSError:
        return False

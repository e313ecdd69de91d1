# SPDX-License-Identifier: Apache-2.0
"""Files for readers that take a path: in memory where the system has a place there, and gone with the process."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

_MEMORY = Path("/dev/shm")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="edgevlm-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None)


def scratch(name: str, data: bytes = b"") -> Path:
    """A file with these bytes, in place of the one that had this name before. name: may lie in a folder."""
    path = Path(_folder().name) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path

# SPDX-License-Identifier: Apache-2.0
"""The inputs that are kept: examples of each format, and whatever once ended badly, named by what it was."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
TARGETS = tuple(sorted(path.stem for path in (Path(__file__).parent / "targets").glob("[a-z]*.py")))


def inputs(target: str) -> dict[str, bytes]:
    """Inputs of a target by name."""
    return {path.name: path.read_bytes() for path in sorted((FOLDER / target).iterdir())}

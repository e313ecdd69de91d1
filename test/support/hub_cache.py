# SPDX-License-Identifier: Apache-2.0
"""A hub's cache on this machine, laid out as huggingface_hub does it, so that nothing has to be fetched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the libraries of this process look there and nowhere else."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def put(cache: Path, model: str, folder: Path, commit: str, branch: str = "") -> None:
    """A copy of a model's folder as one commit of a hub id. branch: that this commit is the newest of, if any."""
    repository = cache / f"models--{model.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots" / commit)
    if branch:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / branch).write_text(commit)

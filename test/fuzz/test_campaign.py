# SPDX-License-Identifier: Apache-2.0
"""The fuzzer itself, for some hundred executions, where it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TEST = Path(__file__).parents[1]


def fuzz(*words: str, hidden: bool = False) -> subprocess.CompletedProcess[str]:
    """hidden: as if atheris were not installed."""
    code = "import sys; sys.modules['atheris'] = None; import runpy; runpy.run_module('fuzz', run_name='__main__')"
    command = [sys.executable, *(("-c", code) if hidden else ("-m", "fuzz")), *words]
    env = os.environ | {"PYTHONPATH": str(TEST)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_campaign_tries_as_often_as_it_was_asked_to_and_keeps_what_reached_new_code(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the fuzzer is not installed here: requirements/fuzz.txt")
    done = fuzz("--target", "trace", "--executions", "400", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "trace.log").read_text()
    (figures,) = json.loads((tmp_path / "fuzz.json").read_text())
    assert figures["executions"] >= 400
    assert (figures["crashes"], figures["coverage"] > 20) == ([], True)
    assert any((tmp_path / "trace").iterdir())
    assert "| `trace` |" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("atheris") is not None, reason="it is installed here")
def test_without_atheris_it_says_how_to_get_it() -> None:
    done = fuzz()
    assert done.returncode == 1
    assert "requirements/fuzz.txt" in done.stderr

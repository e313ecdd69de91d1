# SPDX-License-Identifier: Apache-2.0
"""A soak from the command line to soak.json: that all of it happens and is written, not how much memory it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from soak.__main__ import main, told_in_logs
from soak.schedule import PHASE, PHASES, schedule

TEST = Path(__file__).parents[1]


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(word in told for word in ("--minutes", "make soak", "soak.json", "Theil-Sen", "reload", "exit code"))


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--cloud", "none"], ["--rate", "-1"]])
def test_what_cannot_be_asked_for_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def test_an_unknown_model_is_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
    assert main(["--model", "no_such_model", "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_tracebacks_and_bad_lines_of_all_logs_are_counted(tmp_path: Path) -> None:
    (tmp_path / "edge_node.log").write_text(
        "[ERROR] [1.0] [edge_node]: no\nTraceback (most recent call last):\n  File\nValueError: no\n[WARN] [2.0] ...\n"
    )
    (tmp_path / "camera.log").write_text("Exception ignored in: <thread>\n")
    assert told_in_logs(tmp_path) == {"tracebacks": 2, "edge_node ERROR": 1, "edge_node WARN": 1}


def test_a_short_soak_does_all_of_it_and_leaves_figures_and_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
    out = tmp_path / "soak"
    words = ["--minutes", "0.1", "--round", "6", "--cloud", "scripted", "--keyframe-period", "0.5", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "soak", *words],
        env={**os.environ, "PYTHONPATH": str(TEST)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (out / "soak.json").exists(), done.stderr
    soak: dict[str, Any] = json.loads((out / "soak.json").read_text())
    found = soak["figures"]
    events = {kind for _, kind, _, _ in soak["samples"]["marks"]}
    assert events == {step.kind for step in schedule(6.0, 6.0)}
    assert set(found["phases"]) == {name for name, _ in PHASES}
    assert PHASE in events
    assert found["answers"] > 3
    assert found["replies"]["ok"] > 0
    assert sum(found["asks"].values()) == 3
    for process in ("edge_node", "cloud_bridge_node", "recorder_node", "camera"):
        measured = found["processes"][process]
        assert measured["memory"]["max"] > 1
        assert measured["threads"]["max"] >= 1
        assert measured["descriptors"]["max"] > 3
    assert found["processes"]["camera"]["runs"] == 2
    assert done.returncode == any(row["met"] is False for row in soak["targets"])
    assert (out / "soak.md").read_text() in done.stdout
    assert any((out / "record").rglob("*.mcap"))
    assert Image.open(out / "soak.png").size[0] > 1000

# SPDX-License-Identifier: Apache-2.0
"""The tool from its command line, and a handful of faults against the real graph: that nothing is silent or lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.__main__ import main
from chaos.faults import FAULTS
from chaos.schedule import SHORT, read_schedule

TEST = Path(__file__).parents[1]


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(word in told for word in ("make chaos", "schedule.yaml", "chaos.json", "exit code", "--faults"))


def test_all_faults_are_listed_with_their_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--faults"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in FAULTS)
    assert "bytes_per_s: 8000" in told


def test_a_schedule_that_cannot_be_followed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- {fault: partitoin, at: 4, for: 2}")
    assert main(["--schedule", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "did you mean 'partition'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_handful_of_faults_leaves_no_request_silent_and_no_traceback(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
    out = tmp_path / "chaos"
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--short", "--rate", "3", "--timeout", "5", "--out", str(out)],
        env={**os.environ, "PYTHONPATH": str(TEST)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    chaos = json.loads((out / "chaos.json").read_text())
    assert [row["fault"] for row in chaos["rows"]] == [entry.label for entry in read_schedule(SHORT)]
    assert all(row["recovery_s"] is not None for row in chaos["rows"])
    assert {"ok", "unreachable"} <= {request["status"] for request in chaos["requests"]}
    assert {request["life"] for request in chaos["requests"]} == {1, 2}
    assert (out / "chaos.md").read_text() in done.stdout
    assert (out / "chaos.png").stat().st_size > 1000

# SPDX-License-Identifier: Apache-2.0
"""`edgevlm load` from the command line to load.json: the form and the sanity of figures, not how large they are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros import cli


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "edgevlm_ros.cli", "load", *words]


def _children_of(out: Path) -> list[str]:
    """Processes that were started for this run: they know its folder by their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(out).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["load", "--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(word in told for word in ("--minutes", "load.json", "engine alone", "smolvlm-68m"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--size", "640"], "WIDTHxHEIGHT"),
        (["--size", "0x480"], "WIDTHxHEIGHT"),
        (["--rate", "0"], "0.1 to 1000"),
        (["--seconds", "0.5"], "1 to 86400"),
        (["--minutes", "1", "--seconds", "3"], "not allowed with"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["load", *words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_an_unknown_model_is_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["load", "--model", "no_such_model", "--out", str(tmp_path / "out")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_leaves_figures_a_table_and_a_picture(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--model", "micro_svlm", "--seconds", "4", "--size", "320x240", "--rate", "20", "--out", str(out)]
    done = subprocess.run(_command(*words), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"load.json", "load.md", "load.png", "logs"}
    load: dict[str, Any] = json.loads((out / "load.json").read_text())
    found = load["figures"]
    assert found["answers"] > 3
    assert 0 < found["rate"] <= 2 * 20, "of 20 images a second, which do not come evenly"
    assert found["rate_alone"] > 0
    for name in ("inference_ms", "age_ms", "age_by_stamp_ms"):
        assert 0 < found[name]["p50"] <= found[name]["p95"] <= found[name]["max"]
    assert found["inference_ms"]["p50"] < found["age_ms"]["p50"] < found["age_by_stamp_ms"]["p50"] + 50
    assert 50 < found["memory_mb"] < 20_000
    assert -0.1 < found["own_cpu"] < os.cpu_count()  # type: ignore[operator]
    assert [len(found[name]) for name in ("first_answer_ms", "last_answer_ms", "deactivated_ms")] == [3, 3, 3]
    assert all(value > 0 for value in found["first_answer_ms"])
    assert [row["met"] for row in load["targets"]].count(None) == 0
    assert len(load["samples"]["memory"]) >= 3
    assert (out / "load.md").read_text() in done.stdout
    assert "of the engine alone" in done.stdout
    assert _children_of(out) == []


def test_an_interrupted_run_leaves_no_process(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = subprocess.Popen(
        _command("--model", "micro_svlm", "--seconds", "600", "--out", str(out)), stderr=subprocess.PIPE, text=True
    )
    assert run.stderr is not None
    told = ""
    while "loading" not in told and (letter := run.stderr.read(1)):
        told += letter
    run.send_signal(signal.SIGINT)
    told += run.communicate(timeout=200)[1]
    assert run.returncode == 130, told
    assert "nothing is left running" in told
    assert _children_of(out) == []


def test_a_node_that_cannot_start_is_an_error_with_its_own_words(tmp_path: Path) -> None:
    out, broken = tmp_path / "out", tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type":')
    done = subprocess.run(
        _command("--model", str(broken), "--seconds", "4", "--out", str(out)),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 1
    assert "refuses to configure" in done.stderr
    assert "config.json" in done.stderr
    assert "fetch the whole folder again" in done.stderr
    assert _children_of(out) == []

# SPDX-License-Identifier: Apache-2.0
"""`edgevlm bench` from the command line to bench.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edgevlm_ros import cli
from edgevlm_ros.evaluation import bench_cli


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(word in told for word in ("--quick", "bench.json", "model.generate", "smolvlm-256m"))


def test_an_unknown_model_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", "--models", "no_such_model", "--out", str(tmp_path / "out")]) == 2
    assert "smolvlm-256m" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_leaves_figures_tables_and_pictures_and_survives_a_model_that_breaks(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text((tiny_model / "config.json").read_text())
    out = tmp_path / "out"
    asked = ["--models", str(broken), "tiny-qwen2.5-vl", "--repeats", "1", "--threads", "1", "--minutes", "0.3"]
    assert cli.main(["bench", "--out", str(out), *asked]) == 0
    bench = json.loads((out / "bench.json").read_text())
    assert {path.name for path in out.iterdir()} == {
        *("bench.json", "bench.md", "broken.log", "first_token.png", "stages.png")
    }
    assert "ended with 1" in bench["models"][0]["reason"]
    assert {row["model"] for row in bench["rows"]} == {"tiny-qwen2.5-vl"}
    assert all(row["decode_image_ms"] > 0.0 for row in bench["rows"])
    assert {"cpu", "memory"} <= set(bench["machine"])
    assert "torch" in bench["versions"]
    assert bench["models"][1]["threads"] == 1
    assert {ratio["model"] for ratio in bench["ratios"]} == {"tiny-qwen2.5-vl"}
    assert "What is claimed" in capsys.readouterr().out


def test_a_process_that_is_killed_is_a_reason_and_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    result = bench_cli.measured("some", tmp_path, 5.0, 1, 1)
    assert result["model"] == "some"
    assert "no memory left" in result["reason"]

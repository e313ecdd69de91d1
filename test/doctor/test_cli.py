# SPDX-License-Identifier: Apache-2.0
"""`edgevlm doctor` as it is called."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest

from edgevlm_ros import cli

SOURCES = Path(__file__).parents[2] / "src"


def test_what_it_finds_is_its_exit_code(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    assert cli.main(["doctor", "--only", "dds"]) == 0
    assert "0 failed" in capsys.readouterr().out
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "HOUSE")
    assert cli.main(["doctor", "--only", "dds"]) == 1


def test_what_was_left_out_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["doctor", "--only", "camera", "cloud"])
    assert "--image-topic" in capsys.readouterr().out


def test_it_works_in_an_environment_that_has_nothing(tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    arguments = ["doctor", "--json", "--image-topic", "/image", "--cloud-url", "http://127.0.0.1:1/v1"]
    done = subprocess.run(
        [python, "-m", "edgevlm_ros.cli", *arguments],
        env={**kept, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    levels = {(row["subject"], row["name"]): row["level"] for row in told["findings"]}
    assert levels["python", "interpreter"] == "ok"
    assert levels["python", "torch"] == levels["python", "transformers"] == levels["python", "ROS"] == "fail"
    assert levels["nodes", "ROS"] == levels["camera", "ROS"] == levels["cloud", "endpoint"] == "fail"
    assert levels["model", "weights"] == "ok"
    assert not any("this check broke" in row["found"] for row in told["findings"])


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["doctor", "--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert "examples:" in told
    assert "exit code is 1" in told

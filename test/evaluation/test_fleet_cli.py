# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgevlm_ros.cli import main
from support.scripted_cloud import ScriptedCloud


def test_a_short_run_writes_figures_tables_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedCloud() as cloud:
        words = ["--url", cloud.base_url, "--robots", "1,2", "--period", "0.3", "--seconds", "0.8", "--busy", "2"]
        assert main(["fleet", *words, "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "fleet.json").read_text())
    assert [row["robots"] for row in report["fleets"]] == [1, 2]
    assert report["capacity"] >= 1
    assert (tmp_path / "fleet.png").stat().st_size > 1000
    assert "| robots |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--url", "http://somewhere.invalid/v1"], "give --allow-http"),
        (["--bag", "no_such_bag"], "no_such_bag"),
        (["--api-key-env", "EDGEVLM_NOT_SET"], "EDGEVLM_NOT_SET"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["fleet", "--url", "http://127.0.0.1:9/v1", *words, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_server_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["fleet", "--url", "http://127.0.0.1:9/v1", "--seconds", "1", "--robots", "1", "--out", str(tmp_path)]
    assert main(words) == 1
    assert "answers nothing" in capsys.readouterr().err


@pytest.mark.parametrize("robots", ["0", "2,1", "a", "1,1"])
def test_sizes_of_fleets_ascend(robots: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fleet", "--robots", robots])
    assert "ascending" in capsys.readouterr().err

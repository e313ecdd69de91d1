# SPDX-License-Identifier: Apache-2.0
"""`edgevlm calibrate` from the command line to the preset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgevlm_ros import cli
from edgevlm_ros.edge.preset import load_preset


@pytest.fixture
def model(tmp_path: Path, tiny_model: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


def calibrate(model: Path, out: Path, *more: str) -> int:
    return cli.main(["calibrate", str(model), "--frames", "2", "--out", str(out), *more])


def test_the_preset_has_the_beta_and_how_it_was_found(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(model, tmp_path / "out", "--keep-text", "0.9") == 0
    preset = load_preset(str(model))
    curve = json.loads((tmp_path / "out" / "tiny.json").read_text())
    assert preset.beta == curve["beta"]
    assert 0.0 <= preset.beta <= 5.0
    assert preset.measured.startswith("edgevlm calibrate tiny --bag demo --frames 2 --keep-text 0.9")
    assert "the text keeps" in preset.measured
    assert str(tmp_path) not in preset.measured
    assert (tmp_path / "out" / "tiny.png").stat().st_size > 1000
    told = capsys.readouterr().out
    assert "region" in told
    assert "<-" in told


def test_a_dry_run_leaves_the_preset_alone(model: Path, tmp_path: Path) -> None:
    assert calibrate(model, tmp_path / "out", "--dry-run") == 0
    assert not (model / "edgevlm.json").exists()


def test_what_cannot_be_calibrated_is_refused_in_a_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(tmp_path / "nothing", tmp_path) == 2
    assert "no such folder" in capsys.readouterr().err
    assert calibrate(model, tmp_path, "--bag", str(tmp_path / "no_bag")) == 2
    assert "no such file" in capsys.readouterr().err
    assert calibrate(model, tmp_path, "--layers", "99") == 2
    assert "focus layers" in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["calibrate", "--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(word in told for word in ("--keep-text", "--dry-run", "edgevlm.json", "focus.beta"))

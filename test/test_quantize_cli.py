# SPDX-License-Identifier: Apache-2.0
"""`edgevlm quantize` on a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.cli import main


def test_a_folder_is_made_and_its_size_told(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quantize", str(tiny_model), "int8", "--to", str(tmp_path / "small")]) == 0
    assert "MB as int8; edge_model:=" in capsys.readouterr().out
    assert (tmp_path / "small" / "config.json").is_file()


def test_what_cannot_be_done_is_an_error_and_no_traceback(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quantize", str(tiny_model), "nf4"]) == 2
    assert main(["quantize", str(tmp_path / "nowhere"), "nf4", "--to", str(tmp_path / "small")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: where to?")
    assert lines[1].startswith("error: ")

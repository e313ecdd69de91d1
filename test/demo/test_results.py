# SPDX-License-Identifier: Apache-2.0
"""What a demo removes, and when it is not whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgevlm_ros.demo.results import check_whole, clear
from edgevlm_ros.program import BAD_INPUT, FAILED, CommandError


def summary(**frames: int) -> dict[str, Any]:
    return {"frames": {"seen": 10, "answered": 8, "dropped": 2, "bad": 0, **frames}}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "bag").mkdir()
    for name in ("answers.jsonl", "bag/metadata.yaml", "overlay.mp4", "report.html", "summary.json", "mine.txt"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_what_an_earlier_demo_left_goes_and_nothing_else(out: Path) -> None:
    clear(out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_named(out: Path) -> None:
    with pytest.raises(CommandError, match=r"mine\.txt: cannot be written") as refused:
        clear(out / "mine.txt")
    assert refused.value.code == BAD_INPUT


@pytest.mark.parametrize("frames", [{}, {"seen": 11}])
def test_a_frame_that_was_in_the_model_at_the_end_is_not_missed(frames: dict[str, int], out: Path) -> None:
    check_whole(summary(**frames), out)


@pytest.mark.parametrize(
    ("frames", "missing", "said"),
    [
        ({"answered": 0}, "", r"no frame was answered \(10 seen\)"),
        ({"seen": 12}, "", "2 of 12 frames seen are not accounted for"),
        ({}, "overlay.mp4", r"overlay\.mp4 was not written"),
    ],
)
def test_a_demo_that_is_not_whole_failed(frames: dict[str, int], missing: str, said: str, out: Path) -> None:
    if missing:
        (out / missing).unlink()
    with pytest.raises(CommandError, match=said) as failed:
        check_whole(summary(**frames), out)
    assert failed.value.code == FAILED

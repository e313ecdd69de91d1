# SPDX-License-Identifier: Apache-2.0
"""The engine without node and pipeline, and the pictures that it is shown."""

from __future__ import annotations

import json
from pathlib import Path

from edgevlm_ros.evaluation import engine_alone
from edgevlm_ros.evaluation.load_camera import pictures


def test_the_engine_alone_answers_back_to_back_for_as_long_as_asked(tmp_path: Path, tiny_model: Path) -> None:
    result = tmp_path / "result.json"
    words = ["--model", str(tiny_model), "--question", "What?", "--tokens", "3", "--threads", "1", "--seconds", "1"]
    words += ["--rate", "30", "--width", "64", "--height", "48", "--result", str(result)]
    engine_alone.main(words)
    measured = json.loads(result.read_text())
    seconds = measured["seconds"]
    assert measured["cpu"] > 0
    assert len(seconds) > 3
    assert all(value > 0 for value in seconds)
    assert sum(seconds) < 1.0 + max(seconds)


def test_the_camera_shows_different_pictures_of_the_size_that_is_asked_for() -> None:
    shown = pictures(96, 72)
    assert {picture.shape for picture in shown} == {(72, 96, 3)}
    assert len({picture.tobytes() for picture in shown}) > len(shown) // 2

# SPDX-License-Identifier: Apache-2.0
"""Measured compute times, and draws from them that repeat."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.edge.loading import EngineSettings
from edgevlm_ros.evaluation.large_model import LargeModel
from edgevlm_ros.evaluation.robot import Bridge, Robot
from edgevlm_ros.evaluation.timings import KINDS, Timings, load_timings, measure
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.history import Replacement
from support.small_scene import SmallModel, small_stream
from support.tiny_lvlm import make_tiny_lvlm

SAMPLES = {kind: tuple(n / 1000 for n in range(1, 40)) for kind in KINDS}


def test_a_draw_is_a_function_of_kind_seed_scene_and_frame() -> None:
    timings = Timings(SAMPLES, {})
    draws = [timings.draw("edge", 0, 7, stamp) for stamp in range(50)]
    assert draws == [timings.draw("edge", 0, 7, stamp) for stamp in range(50)]
    assert len(set(draws)) > 10
    assert draws != [timings.draw("edge", 1, 7, stamp) for stamp in range(50)]
    assert draws != [timings.draw("cloud", 0, 7, stamp) for stamp in range(50)]


def test_timings_are_read_as_they_were_written(tmp_path: Path) -> None:
    timings = Timings(SAMPLES, {"machine": "this one"})
    timings.save(tmp_path / "out" / "timings.json")
    assert load_timings(tmp_path / "out" / "timings.json") == timings


@pytest.mark.parametrize("text", ["", "[]", '{"about": {}, "seconds": {"edge": [0.1]}}'])
def test_a_file_without_timings_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "timings.json").write_text(text)
    with pytest.raises(ValueError, match="measured anew"):
        load_timings(tmp_path / "timings.json")


def test_negative_times_are_refused(tmp_path: Path) -> None:
    Timings({**SAMPLES, "edge": (-1.0,)}, {}).save(tmp_path / "timings.json")
    with pytest.raises(ValueError, match="negative"):
        load_timings(tmp_path / "timings.json")


def test_every_kind_is_measured_on_real_models(tmp_path: Path) -> None:
    large = LargeModel(str(make_tiny_lvlm(tmp_path / "lvlm")), Bridge(), "cpu")
    robot = Robot(EngineSettings("small"), Replacement(), Focus(), Bridge(), "lvlm")
    told: list[int] = []
    timings = measure(
        small_stream(tmp_path / "bag"), robot, SmallModel(), large, {"a": "b"}, 12, lambda: told.append(1)
    )
    assert len(told) == 15
    assert all(timings.samples[kind] and min(timings.samples[kind]) > 0 for kind in KINDS)
    assert max(timings.samples["cloud_eyes"]) < max(timings.samples["cloud"])


def test_a_robot_that_does_without_focus_has_times_too(tmp_path: Path) -> None:
    large = LargeModel(str(make_tiny_lvlm(tmp_path / "lvlm")), Bridge(), "cpu")
    robot = Robot(EngineSettings("small"), Replacement(), Focus("none"), Bridge(), "lvlm")
    timings = measure(small_stream(tmp_path / "bag"), robot, SmallModel(), large, {}, 12)
    assert timings.samples["edge_focused"] == timings.samples["edge_told"]

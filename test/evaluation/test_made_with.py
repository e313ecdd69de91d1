# SPDX-License-Identifier: Apache-2.0
"""What a sweep was made with, and what may stand beside it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from edgevlm_ros.evaluation import evaluate_cli
from edgevlm_ros.evaluation.calibrated import Calibrated
from edgevlm_ros.evaluation.made_with import (
    EvaluateError,
    bag_ingredients,
    command,
    ingredients,
    model_names,
    same_as_before,
)
from edgevlm_ros.evaluation.robot import robot
from edgevlm_ros.evaluation.streaming import Truth
from edgevlm_ros.evaluation.sweep import Means
from edgevlm_ros.transfer.focus import Focus
from support.small_scene import constant, small_stream

MEANS = Means(robot(), constant())


def told(*words: str) -> str:
    parser = argparse.ArgumentParser()
    evaluate_cli.add_arguments(parser)
    return command(parser.parse_args(words))


def test_the_command_is_told_as_far_as_it_decides_on_the_results() -> None:
    assert told("--jobs", "7", "--ray", "--out", "/somewhere", "--timings", "t.json") == "edgevlm evaluate"
    assert told("bags/yard", "--seeds", "0,1", "--delays", "3", "--edge-model", "Qwen/Qwen2.5-VL-3B-Instruct") == (
        "edgevlm evaluate bags/yard --delays 3 --seeds 0,1 --edge-model Qwen/Qwen2.5-VL-3B-Instruct"
    )
    assert told("--judge-model", "wise", "--judge-reasoning-effort", "low") == (
        "edgevlm evaluate --judge-model wise --judge-reasoning-effort low"
    )
    assert told("--question", "Is it open?", "--calibrate") == "edgevlm evaluate --calibrate --question 'Is it open?'"


def test_files_are_told_as_they_were_typed_and_the_home_directory_is_not() -> None:
    home = Path.home()
    assert told(str(home / "bags/my yard"), "--annotations", str(home / "truth/yard.jsonl"), "--params", "r.yaml") == (
        "edgevlm evaluate ~/'bags/my yard' --annotations ~/truth/yard.jsonl --params r.yaml"
    )


def test_models_are_named_without_folders_and_known_by_their_weights() -> None:
    models = model_names(MEANS)
    assert models["edge_model"]["name"] == "micro_svlm"
    assert len({model["fingerprint"] for model in models.values()}) == 2


def test_a_folder_goes_on_with_the_same_ingredients_and_refuses_others(tmp_path: Path) -> None:
    now = ingredients(MEANS, Calibrated(), "exact match", "")
    same_as_before(tmp_path, now, {})
    same_as_before(tmp_path, now, {})
    (tmp_path / "runs.jsonl").write_text("")
    same_as_before(tmp_path, now, {})
    other = replace(MEANS, robot=replace(MEANS.robot, focus=Focus("none")))
    with pytest.raises(EvaluateError, match=r"changed: robot, knobs\. Give another --out, or remove its runs\.jsonl"):
        same_as_before(tmp_path, ingredients(other, Calibrated({"edgevlm": {"1": {}}}), "exact match", ""), {})


def test_without_runs_the_ingredients_may_change(tmp_path: Path) -> None:
    same_as_before(tmp_path, {"robot": "one"}, {})
    same_as_before(tmp_path, {"robot": "another"}, {})


def test_runs_of_which_nothing_is_known_are_of_another_time(tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text("")
    with pytest.raises(EvaluateError, match="changed: robot"):
        same_as_before(tmp_path, {"robot": "one"}, {})


def test_the_package_s_version_belongs_to_what_a_sweep_was_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ingredients(MEANS, Calibrated(), "exact match", "")
    monkeypatch.setattr("edgevlm_ros.machine.versions", lambda: {"edgevlm_ros": "99.0"})
    after = ingredients(MEANS, Calibrated(), "exact match", "")
    assert {name for name in after if after[name] != before[name]} == {"version of edgevlm_ros"}


def test_corrected_truths_other_frames_and_another_folder_make_another_bag(tmp_path: Path) -> None:
    stream = small_stream(tmp_path / "cart_00")
    first = stream.truths[0]
    corrected = replace(stream, truths=(Truth(first.stamp, first.question, "acid, left"), *stream.truths[1:]))
    moved = replace(stream, path=tmp_path / "elsewhere" / "cart_00")
    cut = replace(stream, stamps=stream.stamps[:-1])
    (before,) = bag_ingredients([stream]).values()
    for other, kind in ((corrected, "truths"), (moved, "path"), (cut, "frames")):
        (after,) = bag_ingredients([other]).values()
        assert [name for name in after if after[name] != before[name]] == [kind]


def test_a_folder_takes_more_bags_and_refuses_one_that_has_changed(tmp_path: Path) -> None:
    same_as_before(tmp_path, {}, {"a": {"truths": "1"}})
    (tmp_path / "runs.jsonl").write_text("")
    same_as_before(tmp_path, {}, {"b": {"truths": "1"}})
    same_as_before(tmp_path, {}, {"a": {"truths": "1"}, "b": {"truths": "1"}})
    with pytest.raises(EvaluateError, match="changed: truths of a"):
        same_as_before(tmp_path, {}, {"a": {"truths": "2"}})

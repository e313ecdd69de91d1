# SPDX-License-Identifier: Apache-2.0
"""What a sweep was made with, and what may stand beside it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from edgevlm_ros.evaluation import evaluate_cli
from edgevlm_ros.evaluation.calibrated import Calibrated
from edgevlm_ros.evaluation.made_with import EvaluateError, command, ingredients, model_names, same_as_before
from edgevlm_ros.evaluation.robot import robot
from edgevlm_ros.evaluation.sweep import Means
from edgevlm_ros.transfer.focus import Focus
from support.small_scene import constant

MEANS = Means(robot(), constant())


def told(*words: str) -> str:
    parser = argparse.ArgumentParser()
    evaluate_cli.add_arguments(parser)
    return command(parser.parse_args(words))


def test_the_command_is_told_as_far_as_it_decides_on_the_results() -> None:
    assert told("--jobs", "7", "--ray", "--out", "/somewhere", "--timings", "t.json") == "edgevlm evaluate"
    assert told("/home/me/bags/yard", "--seeds", "0,1", "--delays", "3", "--edge-model", "/models/mine") == (
        "edgevlm evaluate yard --delays 3 --seeds 0,1 --edge-model mine"
    )
    assert told("--judge-model", "wise", "--judge-reasoning-effort", "low") == (
        "edgevlm evaluate --judge-model wise --judge-reasoning-effort low"
    )
    assert told("--question", "Is it open?", "--calibrate") == "edgevlm evaluate --calibrate --question 'Is it open?'"


def test_models_are_named_without_folders_and_known_by_their_weights() -> None:
    models = model_names(MEANS)
    assert models["edge_model"]["name"] == "micro_svlm"
    assert len({model["fingerprint"] for model in models.values()}) == 2


def test_a_folder_goes_on_with_the_same_ingredients_and_refuses_others(tmp_path: Path) -> None:
    now = ingredients(MEANS, Calibrated(), "exact match", "")
    same_as_before(tmp_path, now)
    same_as_before(tmp_path, now)
    (tmp_path / "runs.jsonl").write_text("")
    same_as_before(tmp_path, now)
    other = replace(MEANS, robot=replace(MEANS.robot, focus=Focus("none")))
    with pytest.raises(EvaluateError, match=r"another robot, knobs: give another --out, or remove its runs\.jsonl"):
        same_as_before(tmp_path, ingredients(other, Calibrated({"edgevlm": {"1": {}}}), "exact match", ""))


def test_without_runs_the_ingredients_may_change(tmp_path: Path) -> None:
    same_as_before(tmp_path, {"robot": "one"})
    same_as_before(tmp_path, {"robot": "another"})

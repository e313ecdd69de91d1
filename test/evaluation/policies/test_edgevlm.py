# SPDX-License-Identifier: Apache-2.0
"""Context transfer in virtual time: the robot's pipeline, and what each ablation takes away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevlm_ros.edge.engine import Prompt
from support.small_bag import stamp
from support.small_scene import SmallModel, accuracy, played, run_of, small_scene


def prompts(tmp_path: Path, policy: str, delay: str = "1", knobs: dict[str, object] | None = None) -> list[Prompt]:
    small = SmallModel()
    played(small_scene(tmp_path / policy, small), policy, delay, knobs)
    return small.prompts


def test_the_late_load_and_the_early_side_make_the_right_answer(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "cart_00")
    run = run_of(scene, "edgevlm", "1")
    knows = [said.published for said in run.published if said.text.startswith("gas")]
    # sent at 0, back at 1.0, taken in by 1.01, so first told to the frame of 1.2
    assert min(knows) == stamp(1.2) + 30_000_000
    scores = [accuracy(scene, policy, "1") for policy in ("cloud_only", "edgevlm", "transfer_limit")]
    assert scores == sorted(scores)
    assert scores[2] - scores[1] == pytest.approx(0.05)  # the limit takes no time to take a context in
    assert run.outcomes["applied"] == 3


def test_an_answer_takes_as_long_as_what_it_looked_at(tmp_path: Path) -> None:
    run = run_of(small_scene(tmp_path / "cart_00"), "edgevlm", "1")
    first, last = run.published[0], run.published[-1]
    assert (first.published - first.frame, last.published - last.frame) == (20_000_000, 30_000_000)  # type: ignore[attr-defined]


def test_without_replacement_only_eyes_are_steered_and_without_focus_only_words_are_told(tmp_path: Path) -> None:
    blind = prompts(tmp_path, "edgevlm_no_replacement")
    assert not any(prompt.history for prompt in blind)
    assert any(len(prompt.images) == 2 for prompt in blind)
    told = prompts(tmp_path, "edgevlm_no_focus")
    assert any(prompt.history for prompt in told)
    assert all(len(prompt.images) == 1 for prompt in told)


def test_shuffled_context_is_another_scene_s(tmp_path: Path) -> None:
    said = [prompt.history[-1].said for prompt in prompts(tmp_path, "edgevlm_shuffled") if prompt.history]
    assert set(said) == {"acid, left"}


def test_random_regions_are_elsewhere_and_as_large(tmp_path: Path) -> None:
    usual = [prompt for prompt in prompts(tmp_path, "edgevlm") if len(prompt.images) == 2]
    moved = [prompt for prompt in prompts(tmp_path, "edgevlm_random_regions") if len(prompt.images) == 2]
    assert moved
    assert {p.history for p in usual} == {p.history for p in moved}
    assert [prompt.images[1].shape for prompt in usual] == [prompt.images[1].shape for prompt in moved]
    assert not all(np.array_equal(p.focus, q.focus) for p, q in zip(usual, moved, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["edge_only", "edgevlm"])
def test_the_small_model_is_kept_to_the_robot_s_choices(tmp_path: Path, policy: str) -> None:
    small = SmallModel()
    scene = small_scene(tmp_path / policy, small)
    scene.robot = replace(scene.robot, choices=("gas, left", "gas, right"))
    played(scene, policy, "0.5")
    assert {prompt.choices for prompt in small.prompts} == {("gas, left", "gas, right")}


def test_knobs_change_the_robot_s_own_settings(tmp_path: Path) -> None:
    knobs = {"focus": {"mode": "none"}, "replacement": {"provenance": False}}
    told = [prompt for prompt in prompts(tmp_path, "edgevlm", knobs=knobs) if prompt.history]
    assert told
    assert all(len(p.images) == 1 and p.question.startswith("What") for p in told)

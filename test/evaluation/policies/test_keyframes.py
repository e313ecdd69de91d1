# SPDX-License-Identifier: Apache-2.0
"""Other keyframes for the same method."""

from __future__ import annotations

from pathlib import Path

from edgevlm_ros.evaluation.policies import keyframes
from edgevlm_ros.evaluation.policies.registry import POLICIES
from edgevlm_ros.evaluation.results import BY_PERIOD, BY_SIGNS, LABELS
from support.small_scene import SmallModel, played, small_scene


def times(path: Path, policy: str, confidence: float) -> list[float]:
    scene = small_scene(path / policy, SmallModel(confidence))
    return [(call.stamp - scene.begin) / 1e9 for call in played(scene, policy, "0.5").calls]


def test_a_period_is_kept_whatever_the_small_model_says(tmp_path: Path) -> None:
    assert times(tmp_path, "edgevlm_every_1s", 0.1) == [0, 1, 2, 3]
    assert times(tmp_path, "edgevlm_every_3s", 0.1) == [0, 3]


def test_doubts_bring_keyframes_and_a_sure_model_none(tmp_path: Path) -> None:
    by_doubt = []
    for confidence in (1.0, 0.1):
        scene = small_scene(tmp_path / str(confidence), SmallModel(confidence))
        by_doubt.append(played(scene, "edgevlm_signs_10s", "0.5").outcomes.get("keyframes: unsure", 0))
    assert by_doubt[0] == 0 < by_doubt[1]


def test_the_report_knows_each_of_them_by_name() -> None:
    assert tuple(policy.name for policy in keyframes.BY_PERIOD) == BY_PERIOD
    assert tuple(policy.name for policy in keyframes.BY_SIGNS) == BY_SIGNS
    assert set(POLICIES) == set(LABELS)

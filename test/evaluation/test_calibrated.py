# SPDX-License-Identifier: Apache-2.0
"""Knobs from the validation split, and which of them a delay gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.evaluation.calibrated import EVERY_DELAY, Calibrated, joined, load_calibrated, save_calibrated, usual
from edgevlm_ros.evaluation.policies.registry import POLICIES

FUSE, OURS = POLICIES["parallel_fuse"], POLICIES["edgevlm"]
FOUND = Calibrated(
    {
        "parallel_fuse": {"1": {"hold": 4.0}, "9": {"hold": 0.0}},
        "edgevlm": {EVERY_DELAY: {"focus": {"half_life": 2.0}}},
    },
    {"command": "edgevlm evaluate --calibrate"},
)


def test_without_calibration_a_policy_has_its_first_candidate() -> None:
    assert Calibrated().knobs(FUSE, "3") == FUSE.candidates[0]


@pytest.mark.parametrize(
    ("delay", "hold"), [("1", 4.0), ("9", 0.0), ("0", 4.0), ("6", 0.0), ("lognormal", 4.0), ("dead", 0.0)]
)
def test_a_delay_gets_its_own_knobs_or_those_of_the_nearest(delay: str, hold: float) -> None:
    assert FOUND.knobs(FUSE, delay) == {"hold": hold}


def test_ablations_have_the_knobs_of_what_they_ablate() -> None:
    for policy in (OURS, POLICIES["edgevlm_no_focus"]):
        assert FOUND.knobs(policy, "3") == {"focus": {"half_life": 2.0}}


def test_what_is_usual_of_a_delay_is_its_median() -> None:
    assert usual("3") == pytest.approx(3.0)
    assert 1.0 < usual("lognormal") < 5.0
    assert usual("dead") > 1000


def test_knobs_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "config" / "evaluation.json"
    assert load_calibrated(file) == Calibrated()
    save_calibrated(file, FOUND)
    assert load_calibrated(file) == FOUND


def test_policies_that_are_not_calibrated_again_keep_their_knobs_as_long_as_the_models_are_the_same() -> None:
    now = Calibrated({"parallel_fuse": {"1": {"hold": 8.0}}}, {"command": "later"})
    both = joined(FOUND, now)
    assert both.chosen == {**FOUND.chosen, **now.chosen}
    assert both.about == {"command": "later", "earlier": [{"command": FOUND.about["command"], "date": None}]}
    other = Calibrated(now.chosen, {"edge_model": "another"})
    assert joined(FOUND, other) == other


@pytest.mark.parametrize("text", ["", "[]", '{"chosen": {}}', '{"chosen": {"nobody": {}}, "about": {}}'])
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(ValueError, match=r"evaluation\.json.*--calibrate"):
        load_calibrated(tmp_path / "evaluation.json")

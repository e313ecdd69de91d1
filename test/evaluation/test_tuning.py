# SPDX-License-Identifier: Apache-2.0
"""Calibration: every policy gets the knobs that served it best, and none gets another's luck."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.evaluation import sweep, tuning
from edgevlm_ros.evaluation.calibrated import EVERY_DELAY
from edgevlm_ros.evaluation.policies.policy import Policy
from edgevlm_ros.evaluation.policies.registry import POLICIES
from edgevlm_ros.evaluation.remembering import RememberingEngine
from edgevlm_ros.evaluation.replies import append_replies
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.evaluation.sweep import Means
from edgevlm_ros.evaluation.tuning import Tried, chosen, first_scenes, gains, telling, tune
from support.small_bag import at_5_hz, stamp
from support.small_scene import CART, SECONDS, SmallModel, constant, reply, robot, side_at, small_stream


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Means:
    """The small model of a test, and a large one that has said all that it will."""
    for module in (sweep, tuning):
        monkeypatch.setattr(module, "remembering", lambda settings: RememberingEngine(SmallModel(confidence=0.5)))
    file = tmp_path / "known.jsonl"
    append_replies(file, {(stamp(t), CART.text): reply(f"gas, {side_at(t)}") for t in at_5_hz(SECONDS)})
    monkeypatch.setattr(sweep, "replies_file", lambda *_: file)
    return Means(robot(), constant())


@pytest.fixture
def streams(tmp_path: Path) -> list[Stream]:
    return [small_stream(tmp_path / name) for name in ("cart_00", "cart_01", "panel_00")]


def test_offloading_gains_where_the_large_model_is_right_and_in_time(
    streams: list[Stream], means: Means, tmp_path: Path
) -> None:
    found = gains(streams, ["0", "3", "dead"], means, tmp_path)
    assert found["0"] == [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]  # all frames have a confidence of .5
    assert 0.0 <= found["3"][2] < 0.5
    assert found["dead"] == [0.0] * 9


def test_each_policy_gets_the_knobs_that_are_best_at_a_delay(
    streams: list[Stream], means: Means, tmp_path: Path
) -> None:
    policies = [POLICIES[name] for name in ("edge_only", "parallel_fuse", "offload_confidence", "offload_deadline")]
    found, tried = tune(streams, policies, ["0", "3"], means, tmp_path)
    assert set(found.chosen) == {"parallel_fuse", "offload_confidence", "offload_deadline"}
    assert found.chosen["parallel_fuse"]["0"]["hold"] > 0
    assert found.chosen["offload_confidence"]["0"]["threshold"] > 0.5
    assert found.chosen["offload_deadline"]["0"]["gains"][2] == 1.0
    best = max(each.accuracy for each in tried if each.policy == "parallel_fuse" and each.delay == "0")
    knobs = found.chosen["parallel_fuse"]["0"]
    assert best == next(e.accuracy for e in tried if e.knobs == knobs and e.delay == "0")


def test_among_equals_the_defaults_stay() -> None:
    policy = POLICIES["parallel_fuse"]
    tried = [Tried(policy.name, "1", knobs, 0.5) for knobs in policy.candidates]
    assert chosen(policy, tried) == {"1": policy.candidates[0]}


def test_what_the_robot_has_one_setting_for_is_chosen_by_all_delays_together() -> None:
    policy = Policy("ours", "", POLICIES["edge_only"].play, ({}, {"a": 1}, {"b": 1}))
    rows = {"1": (0.5, 0.9, 0.6), "9": (0.5, 0.1, 0.6)}
    tried = [Tried("ours", d, k, a) for d, each in rows.items() for k, a in zip(policy.candidates, each, strict=True)]
    assert chosen(policy, tried) == {EVERY_DELAY: {"b": 1}}


def test_ends_and_middle_stand_for_all_delays() -> None:
    assert telling(["0", "9", "1", "3", "6"]) == ["1", "6", "9"]
    assert telling(["0"]) == ["0"]
    assert telling(["0", "2"]) == ["2"]


def test_so_many_scenes_of_each_dataset(streams: list[Stream]) -> None:
    assert [stream.name for stream in first_scenes(streams, 1)] == ["cart_00", "panel_00"]

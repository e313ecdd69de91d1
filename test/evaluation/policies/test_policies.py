# SPDX-License-Identifier: Apache-2.0
"""What every policy does with the same scene, and that each does what it is named after."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.evaluation.policies.registry import ABLATIONS, KEYFRAMES, POLICIES, chosen
from support.small_scene import accuracy, played, run_of, small_scene


def test_names_choose_policies_in_the_order_of_tables() -> None:
    assert [policy.name for policy in chosen(["edgevlm", "edge_only"])] == ["edge_only", "edgevlm"]
    assert tuple(policy.name for policy in chosen(["ablations"])) == ABLATIONS
    assert tuple(policy.name for policy in chosen(["keyframes"])) == KEYFRAMES
    assert len(chosen(["all"])) == len(POLICIES) == 25
    with pytest.raises(ValueError, match="unknown policy 'edgy': take some of edge_only"):
        chosen(["edgy"])


@pytest.mark.parametrize("name", [name for name in POLICIES if name not in ("partitioned", "speculative")])
@pytest.mark.parametrize("delay", ["0", "1.5", "lognormal", "dead"])
def test_no_policy_publishes_before_it_can_know_and_twice_it_says_the_same(
    tmp_path: Path, name: str, delay: str
) -> None:
    scene = small_scene(tmp_path / "cart_00")
    first, again = played(scene, name, delay), played(scene, name, delay)
    assert list(first.said) == list(again.said)
    assert all(said.published >= said.frame for said in first.said)
    assert all(call.sent >= call.stamp for call in first.calls)
    if delay == "1.5" and name != "cloud_oracle":
        late = [said for said in first.said if said.cloud]
        assert all(said.published - said.frame >= 1.5e9 for said in late)


@pytest.mark.parametrize("name", [name for name in POLICIES if name.startswith(("edgevlm", "parallel", "transfer"))])
def test_with_a_dead_cloud_the_answers_are_those_of_the_edge_alone(tmp_path: Path, name: str) -> None:
    scene = small_scene(tmp_path / "cart_00")
    assert list(played(scene, name, "dead").said) == list(played(scene, "edge_only", "dead").said)


def test_the_bounds_hold(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "cart_00")
    assert accuracy(scene, "edge_only", "1") == 0.0
    assert accuracy(scene, "cloud_oracle", "1") == 1.0
    assert 0.6 < accuracy(scene, "transfer_limit", "1") < 1.0
    assert run_of(scene, "cloud_oracle", "1").cloud_calls == 20

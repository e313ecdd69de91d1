# SPDX-License-Identifier: Apache-2.0
"""Intervals over scenes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.evaluation.bootstrap import Estimate, Tally, accuracy, difference, estimate, share_of_gap


def scenes(*rights: float, dataset: str = "aisle", count: int = 100) -> dict[tuple[str, str], Tally]:
    return {(dataset, str(place)): Tally(right, count) for place, right in enumerate(rights)}


tallies = st.lists(st.tuples(st.integers(0, 50), st.integers(50, 60)), min_size=2, max_size=8).map(
    lambda pairs: {("aisle", str(i)): Tally(right, count) for i, (right, count) in enumerate(pairs)}
)


def test_the_value_is_the_share_of_all_ground_truth_times() -> None:
    found = accuracy({("aisle", "0"): Tally(10, 10), ("aisle", "1"): Tally(0, 30)})
    assert found is not None
    assert found.value == 0.25


@given(tallies)
def test_the_interval_holds_the_value_within_what_scenes_can_give(part: dict[tuple[str, str], Tally]) -> None:
    found = accuracy(part)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    shares = [tally.right / tally.count for tally in part.values()]
    assert min(shares) - 1e-9 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= max(shares) + 1e-9


@given(tallies)
def test_a_policy_does_not_differ_from_itself(part: dict[tuple[str, str], Tally]) -> None:
    assert difference(part, part) == Estimate(0.0, 0.0, 0.0)


def test_the_same_scenes_give_the_same_interval() -> None:
    part = scenes(10, 60, 90, 30)
    assert accuracy(part) == accuracy(dict(reversed(part.items())))


def test_pairing_finds_a_small_lead_that_intervals_side_by_side_hide() -> None:
    other, part = scenes(10, 40, 70, 95), scenes(13, 43, 74, 98)
    alone = accuracy(part), accuracy(other)
    assert alone[0] is not None
    assert alone[1] is not None
    assert alone[0].low < alone[1].high  # type: ignore[operator]
    lead = difference(part, other)
    assert lead is not None
    assert lead.above_zero


def test_only_scenes_that_both_have_are_compared() -> None:
    found = difference(scenes(50, 90, 0), scenes(40, 80))
    assert found is not None
    assert found.value == pytest.approx(0.1)
    assert difference(scenes(50), scenes(50, dataset="panel")) is None


def test_one_scene_has_no_interval_and_bags_of_one_scene_each_have_one_together() -> None:
    single = accuracy(scenes(50))
    assert single is not None
    assert single.interval is None
    bags = accuracy({**scenes(20, dataset="yard"), **scenes(90, dataset="hall")})
    assert bags is not None
    assert bags.interval == [0.2, 0.9]


def test_scenes_are_drawn_within_their_dataset() -> None:
    """Datasets of unlike difficulty, each the same in all scenes: nothing is uncertain."""
    found = accuracy({**scenes(20, 20, 20, dataset="hard"), **scenes(90, 90, 90, dataset="easy")})
    assert found is not None
    assert found.interval == pytest.approx([0.55, 0.55])


def test_the_share_of_a_gap_is_zero_at_its_floor_and_one_at_its_ceiling() -> None:
    floor, half, ceiling = scenes(40, 50), scenes(60, 70), scenes(80, 90)
    for part, value in ((floor, 0.0), (half, 0.5), (ceiling, 1.0)):
        found = share_of_gap(part, floor, ceiling)
        assert found is not None
        assert found.value == pytest.approx(value)


def test_a_gap_that_may_be_nothing_has_no_interval_and_no_gap_has_no_share() -> None:
    unsure = share_of_gap(scenes(60, 40), scenes(50, 50), scenes(90, 40))
    assert unsure is not None
    assert unsure.interval is None
    assert share_of_gap(scenes(60, 40), scenes(50, 50), scenes(50, 50)) is None


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """32 scenes of four datasets, as in the default sweep."""
    chance, hits = np.random.default_rng(0), 0
    for _ in range(200):
        draws = chance.binomial(60, np.clip(chance.normal(0.7, 0.15, 32), 0, 1))
        part = {(f"d{i % 4}", str(i)): Tally(float(right), 60) for i, right in enumerate(draws)}
        found = accuracy(part)
        assert found is not None
        hits += found.low <= 0.7 <= found.high  # type: ignore[operator]
    assert 176 <= hits <= 199


def test_any_function_of_accuracies_can_be_asked_for() -> None:
    found = estimate(lambda a, b, c: np.maximum(a, b) - c, scenes(50, 60), scenes(70, 80), scenes(50, 60))
    assert found is not None
    assert found.value == pytest.approx(0.2)

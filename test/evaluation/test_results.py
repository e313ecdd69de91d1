# SPDX-License-Identifier: Apache-2.0
"""Runs as figures."""

from __future__ import annotations

import dataclasses
import math

import pytest

from edgevlm_ros.evaluation.outcomes import Run
from edgevlm_ros.evaluation.results import (
    ALL,
    LABELS,
    LIMIT,
    Results,
    cloud_label,
    delay_label,
    differences,
    shares,
    telling_delay,
)


def run(policy: str = "edgevlm", right: int = 5, **changes: object) -> Run:
    values: dict[str, object] = {
        "policy": policy,
        "dataset": "aisle",
        "scene": "aisle_00",
        "split": "test",
        "delay": "3",
        "seed": 0,
        "published": (),
        "correct": (1.0,) * right + (0.0,) * (10 - right),
        "ages": (0.1,) * 9 + (math.nan,),
        "misses": 1,
        "bytes_up": 6000,
        "cloud_calls": 30,
        "duration": 60.0,
    }
    return Run(**{**values, **changes})  # type: ignore[arg-type]


def test_a_row_says_what_happened() -> None:
    (row, _) = Results([run(), run(scene="aisle_01", right=7)]).rows()
    assert row == {
        "policy": "edgevlm",
        "dataset": "all",
        "split": "test",
        "delay": "3",
        "seeds": [0],
        "streaming_accuracy": 0.6,
        "ci95": [0.5, 0.7],
        "answer_age_p50_ms": 100.0,
        "answer_age_p95_ms": 100.0,
        "misses": 2,
        "bytes_up_per_s": 100.0,
        "cloud_calls_per_min": 30.0,
    }


def test_rows_are_in_an_order_of_their_own() -> None:
    runs = [
        run(policy, delay=delay) for policy in ("edgevlm", "mine", "edge_only") for delay in ("9", "lognormal", "1")
    ]
    keys = [(row["policy"], row["delay"]) for row in Results(runs).rows() if row["dataset"] == ALL]
    assert keys == [(p, d) for p in ("edge_only", "edgevlm", "mine") for d in ("1", "9", "lognormal")]
    assert Results(runs).rows() == Results(runs[::-1]).rows()


def test_all_is_every_dataset_together() -> None:
    results = Results([run(), run(dataset="panel", scene="panel_00", right=9)])
    assert results.datasets == [ALL, "aisle", "panel"]
    found = results.accuracy("edgevlm", "3")
    assert found is not None
    assert found.value == pytest.approx(0.7)


def test_seeds_of_a_scene_are_one_scene() -> None:
    results = Results([run(seed=0), run(seed=1, right=7)])
    row = results.rows()[0]
    assert row["seeds"] == [0, 1]
    assert row["streaming_accuracy"] == 0.6
    assert row["ci95"] is None


def test_policies_without_a_cloud_to_wait_for_serve_every_delay() -> None:
    runs = [run("edge_only", 4, delay="0"), run("cloud_oracle", 9, delay="0"), run(right=7, delay="9")]
    gap = Results(runs).share_of_gap("edgevlm", "9")
    assert gap is not None
    assert gap.value == pytest.approx(0.6)


def test_what_was_not_run_is_not_made_up() -> None:
    results = Results([run()])
    assert results.accuracy("edgevlm", "9") is None
    assert results.difference("edgevlm", "cloud_only", "3") is None
    assert results.share_of_gap("edgevlm", "3") is None


def test_without_ground_truth_a_row_has_no_accuracy() -> None:
    results = Results([run(right=0, correct=(), ages=(), misses=0)])
    row = results.rows()[0]
    assert not results.judged
    assert (row["streaming_accuracy"], row["ci95"], row["answer_age_p50_ms"]) == (None, None, None)
    assert row["bytes_up_per_s"] == 100.0


def test_shares_and_differences_are_by_dataset_and_delay() -> None:
    right = {"edge_only": 4, "edgevlm": 6, LIMIT: 8, "cloud_oracle": 10}
    results = Results([run(policy, count) for policy, count in right.items()])
    (share,) = [row for row in shares(results) if (row["policy"], row["dataset"]) == ("edgevlm", ALL)]
    assert share["of_oracle"] == pytest.approx(0.3333)
    assert share["of_transfer_limit"] == 0.5
    found = {row["minus"]: row["difference"] for row in differences(results) if row["dataset"] == ALL}
    assert found == {"edge_only": 0.2, LIMIT: -0.2, "cloud_oracle": -0.4}


def test_titles_speak_of_three_seconds_or_what_is_nearest() -> None:
    for delays, telling in ((("0", "3", "9"), "3"), (("0", "4", "lognormal"), "4"), (("lognormal", "dead"), "dead")):
        assert telling_delay(Results([run(delay=delay) for delay in delays])) == telling


def test_delays_are_named_for_people() -> None:
    names = ("0", "3", "lognormal", "trace:4g_drive", "trace:/a/b/my_route.csv", "dead")
    assert [delay_label(name) for name in names] == ["no delay", "3 s", "lognormal", "4g drive", "my route", "dead"]
    assert cloud_label("3") == "cloud 3 s late"


def test_every_policy_has_a_name_for_people() -> None:
    from edgevlm_ros.evaluation.policies.registry import POLICIES

    assert list(LABELS) == list(POLICIES)


def test_a_run_of_an_unknown_policy_is_shown_too() -> None:
    assert [row["policy"] for row in Results([dataclasses.replace(run(), policy="mine")]).rows()] == ["mine", "mine"]

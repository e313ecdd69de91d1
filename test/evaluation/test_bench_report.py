# SPDX-License-Identifier: Apache-2.0
"""Claims judged, tables and pictures, from given rows."""

from __future__ import annotations

from typing import Any

import pytest

from edgevlm_ros.evaluation.bench_report import markdown, ratios
from support.bench_results import result, row


def judged(one: dict[str, Any]) -> dict[str, tuple[float | None, bool | None]]:
    return {ratio["claim"]: (ratio["value"], ratio["reached"]) for ratio in ratios([one])}


def test_ratios_are_what_the_rows_say() -> None:
    assert judged(result()) == {
        "first token": (1.1, True),
        "first token drafted": (1.2, False),
        "taking in": (1.3, False),
        "prefill": (5.25, True),
        "answer": (2.4, True),
        "answer same": (2.5, True),
        "answer changed": (1.875, False),
        "crop": (2.0, True),
        "prune": (2.5, None),
        "focus": (0.01, True),
    }


def test_pruning_is_judged_where_there_is_much_to_prune_and_reuse_where_the_history_is_most() -> None:
    mosaic = judged(result(rows=[{**one, "visual_tokens": 320} for one in result()["rows"]]))
    assert mosaic["prune"] == (2.5, True)
    assert mosaic["prefill"] == (5.25, None)


def test_speed_with_other_tokens_reaches_nothing() -> None:
    one = result(rows=[row("none", 0), row("none", 1024, tokens_equal=False)])
    assert judged(one)["prefill"] == (5.25, False)
    assert judged(one)["answer"] == (2.4, False)


def test_what_a_draft_gains_is_told_with_how_much_of_it_was_right() -> None:
    notes = {ratio["claim"]: ratio["note"] for ratio in ratios([result()])}
    assert notes["answer"] == ""
    assert notes["answer same"] == "100% of 7 drafted tokens right"
    assert notes["answer changed"] == "0% of 7 drafted tokens right"


def test_a_claim_about_other_models_is_measured_and_not_judged() -> None:
    small = result(model="micro_svlm", parameters=2_600_000)
    assert judged(small)["answer"] == (2.4, None)
    assert judged(small)["prune"] == (2.5, None)
    assert judged(small)["crop"] == (2.0, True)


def test_what_was_left_out_is_neither_reached_nor_missed() -> None:
    one = result(rows=[row("none", 0)], left_out={"stream": "too slow"})
    del one["stream"]
    assert set(judged(one).values()) == {(None, None)}
    assert {ratio["note"] for ratio in ratios([one])} == {
        "its rows were left out",
        "too slow",
        "its views cannot be smaller",
    }


def test_a_skipped_model_has_no_ratios() -> None:
    assert ratios([{"model": "huge", "reason": "no memory"}]) == []


@pytest.mark.parametrize("left_out", [{}, {"generate, none, history 64": "no time"}])
def test_the_table_shows_misses_and_skipped_models_plainly(left_out: dict[str, str]) -> None:
    results = [result(left_out=left_out), {"model": "huge", "parameters": 7_000_000_000, "reason": "no memory"}]
    text = markdown(
        {
            "date": "2026-01-01",
            "machine": {"cpu": "some", "memory": "8 GiB", "system": "Linux"},
            "versions": {"torch": "2"},
            "ratios": ratios(results),
            "models": results,
            "rows": results[0]["rows"],
        }
    )
    assert "**no**" in text
    assert "skipped: no memory" in text
    assert ("generate, none, history 64" in text) == bool(left_out)
    assert "| crop@0.5 " in text

# SPDX-License-Identifier: Apache-2.0
"""The benchmark of one model, on tiny ones: what is measured and compared, not how long it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgevlm_ros.edge.engine import Capabilities
from edgevlm_ros.evaluation import bench
from edgevlm_ros.evaluation.bench import LONGEST, NEW_TOKENS, PLAIN_MODES, SMALL_CROP, Bench, Measured, Point, Results
from edgevlm_ros.evaluation.bench_process import load

PROMISED = {
    *("model", "mode", "reuse", "history_tokens", "visual_tokens"),
    *("ttft_ms", "prefill_ms", "answer_ms", "generate_ms", "answer_tokens", "tokens_equal"),
}
TINY = ("tiny-qwen2.5-vl", "tiny-smolvlm")


def tiny_bench(size: str) -> Bench:
    image = np.random.default_rng(2).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    return Bench(load(size), size, image)


@pytest.fixture(scope="module", params=TINY)
def table(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    measuring = tiny_bench(request.param)
    results = bench.measure_all(measuring, 600.0, 1)
    assert not results.left_out
    return bench.rows(request.param, results, measuring.pixels)


def test_every_row_has_what_is_promised(table: list[dict[str, Any]]) -> None:
    for row in table:
        assert set(row) >= PROMISED
        assert all(row[column] > 0 for column in ("ttft_ms", "prefill_ms", "answer_ms", "generate_ms"))
        assert row["ttft_ms"] < row["answer_ms"]
        assert row["answer_tokens"] == NEW_TOKENS


def test_all_modes_and_histories_are_there(table: list[dict[str, Any]]) -> None:
    for reuse in (True, False):
        found = {row["history_tokens"] for row in table if row["mode"] == "none" and row["reuse"] == reuse}
        assert found == {0, 64, 256, LONGEST}
    assert {"none", "attention", "prune", "crop", "overlay", "text"} <= {row["mode"] for row in table}


def test_the_tokens_are_those_of_plain_generate_wherever_it_can_do_the_same(table: list[dict[str, Any]]) -> None:
    for row in table:
        assert row["tokens_equal"] is (True if row["mode"] in PLAIN_MODES else None)


def test_reuse_spares_the_history_and_pruning_the_visual_tokens(table: list[dict[str, Any]]) -> None:
    rows = {(row["mode"], row["history_tokens"], row["reuse"]): row for row in table if row["draft"] == "off"}
    longest = rows["none", LONGEST, True]
    assert longest["reused_tokens"] > LONGEST
    assert rows["none", LONGEST, False]["reused_tokens"] == 0
    whole, pruned = rows["none", 64, True], rows["prune", 64, True]
    assert pruned["visual_tokens"] == round(whole["visual_tokens"] / 4)
    if ("crop@0.5", 64, True) in rows:
        assert rows["crop@0.5", 64, True]["pixels"] <= whole["pixels"] / 2


def test_a_right_draft_a_wrong_one_and_none_are_rows_of_their_own(table: list[dict[str, Any]]) -> None:
    for history in (0, 64, LONGEST):
        rows = [row for row in table if (row["mode"], row["history_tokens"], row["reuse"]) == ("none", history, True)]
        found = {row["draft"]: (row["drafted_tokens"], row["draft_accepted"]) for row in rows}
        assert found == {"off": (0, None), "accepted": (NEW_TOKENS - 1, 1.0), "rejected": (NEW_TOKENS - 1, 0.0)}
        assert len(rows) == 3
    assert all(row["draft"] == "off" for row in table if row["mode"] != "none" or not row["reuse"])


def test_a_model_whose_views_cannot_be_smaller_has_no_row_for_it() -> None:
    modes = frozenset({"crop"})
    assert ("reuse", Point(SMALL_CROP, 64)) in bench.plan(Capabilities(modes, resolution=True))
    assert ("reuse", Point(SMALL_CROP, 64)) not in bench.plan(Capabilities(modes))


def test_histories_have_the_length_that_is_asked_for_and_differ() -> None:
    engine = tiny_bench(TINY[0]).engine
    one, other = bench.words(engine, LONGEST, 1), bench.words(engine, LONGEST, 2)
    assert one != other
    assert engine.count_tokens(one) == engine.count_tokens(other)


def test_figures_are_medians_and_the_first_of_many_is_not_among_them() -> None:
    def measured(milliseconds: float) -> Measured:
        more = {"history_tokens": 0, "visual_tokens": 4, "prompt_tokens": 9, "reused_tokens": 1}
        more |= {"drafted_tokens": 0, "accepted_tokens": 0}
        return Measured({"ttft_ms": milliseconds}, (1, 2), 0.0, more)

    point = Point("none", 0)
    results = Results({("reuse", point): [measured(value) for value in (90.0, 1.0, 3.0, 2.0)]})
    [row] = bench.rows("m", results, lambda point: 7)
    assert row["ttft_ms"] == 2.0
    assert row["generate_ms"] is None
    assert row["tokens_equal"] is None


def test_what_does_not_fit_into_the_time_is_left_out_with_a_reason() -> None:
    measuring = tiny_bench(TINY[0])
    slow = Measured({"answer_ms": 50.0, "prefill_ms": 1e6}, (1,), 0.05, {"prompt_tokens": 20, "reused_tokens": 10})
    measuring.measure = lambda kind, point: slow  # type: ignore[method-assign]
    results = bench.measure_all(measuring, 60.0, 1)
    assert ("reuse", Point("none", 0)) in results.measured
    assert "s of the time were left" in results.left_out["reuse", Point("none", LONGEST)]
    assert ("reuse", Point("none", LONGEST)) not in results.measured


def test_what_the_claims_need_comes_first() -> None:
    measuring, order = tiny_bench(TINY[0]), []
    bench.measure_all(measuring, 600.0, 3, lambda results, kind, point: order.append((kind, point)))
    claimed = bench.claimed(measuring.engine.capabilities)
    assert order[: 2 * len(claimed)] == claimed * 2
    assert {order.count(one) for one in claimed} == {3}
    assert {order.count(one) for one in order if one not in claimed} == {2}

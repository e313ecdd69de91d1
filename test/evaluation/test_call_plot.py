# SPDX-License-Identifier: Apache-2.0
"""What a cloud call buys, drawn of whatever was run."""

from __future__ import annotations

import pytest

from edgevlm_ros.evaluation.call_plot import accuracy_over_calls
from edgevlm_ros.evaluation.evidence_table import tables
from edgevlm_ros.evaluation.results import BY_PERIOD, BY_SIGNS, Results
from support.evidence_runs import make_runs, make_streams

STREAMS = make_streams(("aisle",), scenes=2, seconds=6.0)


@pytest.mark.parametrize("policies", [("edge_only", *BY_PERIOD, *BY_SIGNS), BY_SIGNS[:1]], ids=["all", "one"])
def test_it_is_drawn_of_whatever_was_run(policies: tuple[str, ...]) -> None:
    drawn = accuracy_over_calls(Results(make_runs(STREAMS, policies, ("1", "3"))))
    assert drawn.startswith(b"\x89PNG")
    assert drawn == accuracy_over_calls(Results(make_runs(STREAMS, policies, ("1", "3"))))


def test_the_table_holds_each_rate_against_the_usual_period() -> None:
    results = Results(make_runs(STREAMS, ("edge_only", *BY_PERIOD, *BY_SIGNS), ("3",)))
    (table,) = [table for table in tables(results) if table.title == "What a cloud call buys"]
    cells = dict(table.rows)
    assert len(cells) == len(BY_PERIOD) + len(BY_SIGNS)
    assert cells["edgeVLM, keyframe every 2 s"].startswith("30.0: +0.0")
    assert [table.rows[place][0] for place in table.strong] == list(cells)[len(BY_PERIOD) :]


def test_other_keyframes_are_no_rivals_and_no_ablations() -> None:
    results = Results(make_runs(STREAMS, ("edge_only", "edgevlm", *BY_PERIOD), ("3",)))
    assert results.competitors == ["edge_only", "edgevlm"]

# SPDX-License-Identifier: Apache-2.0
"""The tables of the evidence."""

from __future__ import annotations

import dataclasses

from edgevlm_ros.evaluation.bootstrap import Estimate
from edgevlm_ros.evaluation.evidence_table import header_rows, markdown, percent, tables
from edgevlm_ros.evaluation.results import Results
from support.evidence_runs import make_runs, make_streams

STREAMS = make_streams(("aisle", "panel"), scenes=2, seconds=10.0)
RUNS = make_runs(STREAMS, ("edge_only", "cloud_only", "edgevlm", "transfer_limit", "cloud_oracle"), ("0", "3"))


def test_there_is_a_table_for_each_thing_that_is_asked() -> None:
    titles = [table.title for table in tables(Results(RUNS))]
    assert titles == [
        "Streaming accuracy",
        "What is recovered",
        "edgeVLM minus each other policy",
        "Streaming accuracy, aisle",
        "Streaming accuracy, panel",
        "What it costs",
    ]


def test_every_row_has_a_cell_for_each_column() -> None:
    for table in tables(Results(RUNS)):
        assert {len(row) for row in table.rows} == {len(table.head)}
        assert [table.rows[place][0].startswith("edgeVLM") for place in table.strong] == [True] * len(table.strong)


def test_without_ground_truth_only_the_cost_is_left() -> None:
    blind = [dataclasses.replace(run, correct=(), ages=(), misses=0) for run in RUNS]
    assert [table.title for table in tables(Results(blind))] == ["What it costs"]


def test_percent_has_an_interval_where_there_is_one() -> None:
    assert percent(Estimate(0.726, 0.694, 0.759)) == "72.6 [69.4, 75.9]"
    assert percent(Estimate(0.1), signed=True) == "+10.0"
    assert percent(None) == "–"


def test_markdown_is_a_table_whatever_a_name_has_in_it() -> None:
    runs = [dataclasses.replace(run, policy=f"a|b{run.policy}") for run in RUNS]
    text = markdown({"command": "edgevlm evaluate"}, tables(Results(runs)), ["aisle_00: a gap: once (at 3.0 s)"])
    assert "- command: edgevlm evaluate" in text
    assert "- aisle_00: a gap: once (at 3.0 s)" in text
    lines = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} <= {4, 7}


def test_header_keeps_what_is_known() -> None:
    header = {"models": {"edge": "a", "cloud": "b"}, "date": "", "delays": ["0", "3"]}
    assert header_rows(header) == [("models", "edge: a, cloud: b"), ("delays", "0, 3")]

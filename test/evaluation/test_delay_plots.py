# SPDX-License-Identifier: Apache-2.0
"""What the picture of accuracy against delay says, and that it can be drawn."""

from __future__ import annotations

import dataclasses

from edgevlm_ros.evaluation.delay_plots import accuracy_by_dataset, accuracy_over_delay, gain_title
from edgevlm_ros.evaluation.outcomes import Run
from edgevlm_ros.evaluation.results import Results
from support.evidence_runs import POLICIES, make_runs, make_streams

STREAMS = make_streams(("aisle", "panel"), scenes=2, seconds=10.0)


def scored(**scores: float) -> Results:
    """Runs at 3 s whose accuracy is given by policy."""
    runs: list[Run] = make_runs(STREAMS, scores, ("3",))
    return Results([dataclasses.replace(run, correct=(scores[run.policy],) * len(run.correct)) for run in runs])


def test_the_title_says_what_edgevlm_gains_and_whom_it_leads() -> None:
    says, below = gain_title(scored(edge_only=0.6, cloud_only=0.4, edgevlm=0.8, cloud_oracle=1.0))
    assert says == "With a cloud 3 s late, edgeVLM closes 50 % of the gap between edge and cloud"
    assert below == "and is 20.0 [20.0, 20.0] points ahead of the next best, edge only. "


def test_the_title_says_so_when_edgevlm_is_behind() -> None:
    says, below = gain_title(scored(edge_only=0.6, cloud_only=0.7, edgevlm=0.56, cloud_oracle=1.0))
    assert says == "With a cloud 3 s late, edgeVLM loses 4.0 points against edge only"
    assert below == "and is 14.0 [14.0, 14.0] points behind the best, cloud only. "


def test_without_bounds_the_title_claims_nothing() -> None:
    assert gain_title(scored(edgevlm=0.5, cloud_only=0.4)) == ("Streaming accuracy by the cloud's delay", "")


def test_pictures_are_drawn_of_fixed_delays_and_others() -> None:
    results = Results(make_runs(STREAMS, POLICIES, ("0", "3", "dead", "trace:4g_drive")))
    for draw in (accuracy_over_delay, accuracy_by_dataset):
        assert draw(results).startswith(b"\x89PNG")

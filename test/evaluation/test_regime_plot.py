# SPDX-License-Identifier: Apache-2.0
"""The regime map says what its cells say."""

from __future__ import annotations

from edgevlm_ros.evaluation.bootstrap import Estimate
from edgevlm_ros.evaluation.regime_plot import regime_map, says
from edgevlm_ros.evaluation.regimes import Cell

GAIN, UNSURE, NONE = Estimate(0.2, 0.1, 0.3), Estimate(0.02, -0.1, 0.1), Estimate(0.0, 0.0, 0.0)
CELLS = [
    Cell(0, "3", 12),
    Cell(1, "3", 900, "edge_only", NONE, Estimate(-0.1, -0.2, 0.0)),
    Cell(2, "3", 900, "edgevlm", UNSURE, UNSURE),
    Cell(3, "3", 900, "edgevlm", GAIN, GAIN),
    Cell(4, "3", 900, "cloud_only", Estimate(0.4, 0.3, 0.5), GAIN),
]


def test_help_is_claimed_only_where_it_is_more_than_the_interval() -> None:
    assert says(CELLS) == "Late answers clearly help edgeVLM in 2 of 4 regimes; it is the best in 2"


def test_it_is_drawn_with_one_map_or_two_and_policies_of_ones_own() -> None:
    mine = [Cell(3, "0", 900, "mine", GAIN, None)]
    for maps in ({"longest": CELLS}, {"longest": CELLS, "shortest": mine}, {"shortest": mine}):
        assert regime_map(maps).startswith(b"\x89PNG")  # type: ignore[arg-type]

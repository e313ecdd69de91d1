# SPDX-License-Identifier: Apache-2.0
"""The pictures beside the accuracy are drawn of whatever there is."""

from __future__ import annotations

from edgevlm_ros.evaluation.evidence_plots import ablations, accuracy_over_bytes, agreement
from edgevlm_ros.evaluation.results import Results
from support.evidence_runs import POLICIES, make_runs, make_streams

STREAMS = make_streams(("aisle",), scenes=2, seconds=6.0)


def test_they_are_drawn_of_whatever_was_run() -> None:
    for policies in (POLICIES, ("edge_only", "edgevlm_no_focus"), ("cloud_only",)):
        results = Results(make_runs(STREAMS, policies, ("0", "3")))
        assert accuracy_over_bytes(results).startswith(b"\x89PNG")
        if "edge_only" in policies:
            assert ablations(results).startswith(b"\x89PNG")


def test_agreement_is_drawn_of_streams_in_which_a_policy_said_nothing() -> None:
    lines = {"yard": {"edge_only": [(2.5, 0.4), (7.5, 1.0)], "edgevlm": []}, "$\\frac{1}$": {"edge_only": []}}
    assert agreement(lines).startswith(b"\x89PNG")

# SPDX-License-Identifier: Apache-2.0
"""The figures of a run, from small recordings whose figures can be counted by hand."""

from __future__ import annotations

import dataclasses

import pytest

from edgevlm_ros.evaluation.metrics import milliseconds, percentile, rate_over_time, streaming_accuracy, summary
from edgevlm_ros.evaluation.recording import Recording
from edgevlm_ros.evaluation.streaming import Truth
from edgevlm_ros.transfer.types import Question
from support.recordings import ANSWER, CONTEXT, SECOND, WHERE, later


def test_percentiles_of_nothing_are_unknown() -> None:
    assert percentile([], 95) is None
    assert milliseconds([]) == {"p50": None, "p95": None}
    assert milliseconds([0.1, 0.2, 0.3]) == {"p50": 200.0, "p95": 290.0}


def test_rate_is_counted_in_whole_windows() -> None:
    stamps = [int(second * SECOND) for second in (0.1, 0.6, 1.1, 2.5, 3.9, 4.2)]
    assert rate_over_time(stamps, 0, int(4.5 * SECOND), window=2.0) == [(1.0, 1.5), (3.0, 1.0)]
    assert rate_over_time([], 5, 5) == []


def test_frames_are_counted_by_the_node_unless_it_was_stopped_before_it_told() -> None:
    edge = {"frames_seen": 9, "frames_answered": 1, "frames_dropped": 7, "frames_bad": 0, "contexts_applied": 3}
    frames = summary(Recording([ANSWER, later(1)], metrics={"edge_node": edge}), played=10)["frames"]
    assert (frames["in_source"], frames["seen"], frames["answered"], frames["dropped"]) == (10, 9, 2, 7)
    assert frames["answered_share_of_seen"] == round(2 / 9, 4)


def test_replies_are_counted_by_status_and_only_good_ones_have_a_delay() -> None:
    failed = dataclasses.replace(CONTEXT, status="timeout", delay=10.0)
    cloud = summary(Recording([ANSWER], [CONTEXT, failed, failed]))["cloud"]
    assert cloud["requests"] == 3
    assert (cloud["replies"]["ok"], cloud["replies"]["timeout"], cloud["replies"]["unreachable"]) == (1, 2, 0)
    assert cloud["delay_ms"]["p95"] == pytest.approx(900)


def test_overhead_is_what_was_not_inference() -> None:
    overhead = summary(Recording([ANSWER, later(1, frame_age=0.2, inference_time=0.15)]))["overhead_ms"]
    assert overhead["p50"] == pytest.approx(35)


def test_a_source_without_ground_truth_is_not_scored_and_says_why() -> None:
    accuracy = streaming_accuracy(Recording([dataclasses.replace(ANSWER, truth=None)]))
    assert (accuracy["overall"], accuracy["reason"]) == (None, "the source has no ground truth")


def test_ground_truth_for_questions_that_were_not_asked_is_not_scored() -> None:
    accuracy = streaming_accuracy(Recording([ANSWER], truths=[Truth(SECOND, Question("How many?"), "2")]))
    assert accuracy["overall"] is None
    assert accuracy["reason"] == "the source has ground truth for other questions only: How many?"


def test_streaming_accuracy_punishes_lateness_and_own_frames_do_not() -> None:
    truths = [Truth(0, WHERE, "left"), Truth(SECOND, WHERE, "right")]
    accuracy = streaming_accuracy(Recording([ANSWER, later(1, text="right", truth="right")], truths=truths))
    assert accuracy["overall"] == {"count": 2, "missed": 1, "exact": 0.0, "parts": 0.0}
    assert accuracy["own_frame_exact"] == 1.0
    assert list(accuracy["by_question"]) == [WHERE.text]


def test_a_run_of_nothing_has_figures_too() -> None:
    nothing = summary(Recording())
    assert nothing["frames"]["answered_share_of_seen"] is None
    assert nothing["answers_per_second"] is None
    assert nothing["streaming_accuracy"]["reason"] == "nothing was answered"

# SPDX-License-Identifier: Apache-2.0
"""What can be said without ground truth."""

from __future__ import annotations

import dataclasses

import pytest

from edgevlm_ros.evaluation.agreement import Words, latencies, over_time, share, words_of, worth_a_look
from edgevlm_ros.evaluation.outcomes import Run, Said
from edgevlm_ros.evaluation.results import Results
from edgevlm_ros.transfer.types import Question
from support.evidence_runs import STEP, make_run, make_stream

STREAM = dataclasses.replace(make_stream("aisle", 0, 10.0), truths=(), facts={})
QUESTION = STREAM.questions[0][1]


def run(policy: str, texts: list[str], late: int = 0, every: int = 1) -> Run:
    frames = STREAM.stamps[::every]
    published = tuple(Said(stamp + late, QUESTION, text, stamp) for stamp, text in zip(frames, texts, strict=False))
    empty = make_run(make_stream("aisle", 0, 10.0), policy, "3")
    return dataclasses.replace(empty, published=published, correct=(), ages=(), misses=0)


def test_edge_and_cloud_are_compared_on_the_same_frame_however_late_the_cloud() -> None:
    edge = run("edge_only", ["gas, pass left"] * 10 + ["acid, pass left"] * 40)
    cloud = run("cloud_only", ["Gas, pass left."] * 5, late=30 * STEP, every=10)
    words = words_of(STREAM, Results([edge, cloud]), "3")
    assert [each.agrees("edge_only") for each in words if each.cloud is not None] == [True, False, False, False, False]
    assert share(words, "edge_only") == pytest.approx(0.2)
    assert share(words, "edgevlm") is None


def test_the_cloud_that_was_asked_for_every_frame_speaks_for_the_cloud() -> None:
    words = words_of(STREAM, Results([run("cloud_oracle", ["a"] * 50), run("cloud_only", ["b"] * 50)]), "3")
    assert {each.cloud for each in words} == {"a"}


def test_agreement_over_time_is_in_windows() -> None:
    edge = run("edge_only", ["a"] * 25 + ["b"] * 25)
    words = words_of(STREAM, Results([edge, run("cloud_oracle", ["a"] * 50)]), "3")
    assert over_time(words, "edge_only") == [(2.5, 1.0), (7.5, 0.0)]
    assert over_time([], "edge_only") == []


def test_latency_is_from_capture_to_publication() -> None:
    (found,) = latencies(Results([run("edge_only", ["a"] * 50, late=STEP)]))
    assert (found.answers, found.p50, found.p95) == (50, 0.2, 0.2)


def test_frames_to_look_at_are_spread_and_prefer_those_that_differ() -> None:
    words = [Words(i, Question("?"), {"edge_only": "b" if i % 10 == 7 else "a"}, "a") for i in range(100)]
    assert [each.stamp for each in worth_a_look(words, 10)] == [10 * i + 7 for i in range(10)]
    assert worth_a_look([], 10) == []

# SPDX-License-Identifier: Apache-2.0
"""The figures of one run: what was seen, answered and dropped, how fast, how right.

Pure functions of a recording; summary() is what summary.json holds. Times are milliseconds there, None where there was
nothing to measure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from edgevlm_ros.evaluation.recording import ContextRecord, Recording
from edgevlm_ros.evaluation.streaming import Score, judge, matches, score, score_by_question
from edgevlm_ros.transfer.types import Status

_EDGE, _BRIDGE = "edge_node", "cloud_bridge_node"
RATE_WINDOW_S = 2.0


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Interpolated between the nearest two; None of nothing."""
    return float(np.percentile(values, percent)) if len(values) else None


def milliseconds(seconds: Iterable[float]) -> dict[str, float | None]:
    """p50 and p95 of durations given in seconds, in milliseconds."""
    values = [value * 1e3 for value in seconds]
    return {"p50": _rounded(percentile(values, 50)), "p95": _rounded(percentile(values, 95))}


def rate_over_time(
    stamps: Sequence[int], start: int, end: int, window: float = RATE_WINDOW_S
) -> list[tuple[float, float]]:
    """(seconds since start, events per second) in whole windows from start to end. stamps, start, end: nanoseconds."""
    count = int((end - start) / 1e9 / window)
    if count < 1:
        return []
    edges = np.arange(count + 1) * window
    counts, _ = np.histogram((np.asarray(stamps, dtype=np.float64) - start) / 1e9, edges)
    return [(float(edge + window / 2), float(n) / window) for edge, n in zip(edges[:-1], counts, strict=True)]


def summary(recording: Recording, played: int | None = None) -> dict[str, Any]:
    """The measured part of summary.json. played: frames that the source has, if known."""
    answers, contexts = recording.answers, recording.contexts
    return {
        "frames": _frames(recording, played),
        "cloud": _cloud(recording.metrics.get(_BRIDGE, {}), contexts),
        "contexts": {
            "applied": int(recording.metrics.get(_EDGE, {}).get("contexts_applied", 0)),
            "ignored": int(recording.metrics.get(_EDGE, {}).get("contexts_ignored", 0)),
            "share_of_answers_with_context": _share(answer.context_stamp is not None for answer in answers),
        },
        "answer_age_ms": milliseconds(answer.frame_age for answer in answers),
        "inference_time_ms": milliseconds(answer.inference_time for answer in answers),
        "overhead_ms": milliseconds(answer.frame_age - answer.inference_time for answer in answers),
        "answers_per_second": _mean_rate([answer.published for answer in answers]),
        "streaming_accuracy": streaming_accuracy(recording),
        "rate_over_time": [
            {"second": second, "answers_per_second": rate}
            for second, rate in rate_over_time(*_span([answer.published for answer in answers]))
        ],
    }


def streaming_accuracy(recording: Recording) -> dict[str, Any]:
    """Overall and by question, and beside it the accuracy of each answer about its own frame, however late."""
    asked = {answer.question for answer in recording.answers}
    truths = [truth for truth in recording.truths if truth.question.text in asked]
    if not truths:
        known = sorted({truth.question.text for truth in recording.truths})
        reason = "the source has no ground truth"
        if known:
            reason = f"the source has ground truth for other questions only: {', '.join(known)}"
        if not asked:
            reason = "nothing was answered"
        return {"overall": None, "by_question": None, "reason": reason}
    verdicts = judge(truths, [answer.as_published() for answer in recording.answers])
    overall = score(verdicts)
    return {
        "overall": _score(overall) if overall else None,
        "by_question": {question.text: _score(part) for question, part in score_by_question(verdicts).items()},
        "own_frame_exact": _share(
            matches(answer.text, answer.truth) for answer in recording.answers if answer.truth is not None
        ),
        "reason": None,
    }


def _frames(recording: Recording, played: int | None) -> dict[str, Any]:
    edge = recording.metrics.get(_EDGE, {})
    answered = max(int(edge.get("frames_answered", 0)), len(recording.answers))
    seen = max(int(edge.get("frames_seen", 0)), answered)
    return {
        "in_source": played,
        "seen": seen,
        "answered": answered,
        "dropped": int(edge.get("frames_dropped", 0)),
        "bad": int(edge.get("frames_bad", 0)),
        "answered_share_of_seen": round(answered / seen, 4) if seen else None,
    }


def _cloud(bridge: dict[str, float], contexts: Sequence[ContextRecord]) -> dict[str, Any]:
    replies = Counter(context.status for context in contexts)
    return {
        "requests": max(int(bridge.get("requests", 0)), len(contexts)),
        "replies": {status.name.lower(): replies[status.name.lower()] for status in Status},
        "delay_ms": milliseconds(context.delay for context in contexts if context.status == "ok"),
        "bytes_up": sum(context.bytes_up for context in contexts),
    }


def _score(found: Score) -> dict[str, Any]:
    return {name: _rounded(value, 4) for name, value in asdict(found).items()}


def _share(values: Iterable[bool]) -> float | None:
    known = list(values)
    return round(sum(known) / len(known), 4) if known else None


def _mean_rate(stamps: Sequence[int]) -> float | None:
    if len(stamps) < 2 or stamps[-1] <= stamps[0]:
        return None
    return _rounded((len(stamps) - 1) / (stamps[-1] - stamps[0]) * 1e9)


def _span(stamps: Sequence[int]) -> tuple[Sequence[int], int, int]:
    return stamps, min(stamps, default=0), max(stamps, default=0)


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)

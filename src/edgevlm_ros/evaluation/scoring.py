# SPDX-License-Identifier: Apache-2.0
"""What a policy's answers are worth: each ground-truth time asks for the newest answer that was published by then."""

from __future__ import annotations

import math

from edgevlm_ros.evaluation.judge import ExactJudge, Judge
from edgevlm_ros.evaluation.outcomes import Key, Run, Said
from edgevlm_ros.evaluation.simulation import Played
from edgevlm_ros.evaluation.streaming import judge as newest_by_then
from edgevlm_ros.evaluation.streams import Stream

_EXACT = ExactJudge()


def scored(stream: Stream, key: Key, played: Played, judge: Judge = _EXACT) -> Run:
    """The run of a policy in a stream. Raises JudgeError."""
    verdicts = newest_by_then(stream.truths, played.said)
    ages, correct = [], []
    for verdict in verdicts:
        truth, said = verdict.truth, verdict.answer
        ages.append((truth.stamp - said.frame) / 1e9 if isinstance(said, Said) else math.nan)
        correct.append(judge.right(truth.question, said.text, truth.answer) if said is not None else 0.0)
    return Run(
        **key._asdict(),
        published=tuple(sorted(played.said, key=lambda said: said.published)),
        correct=tuple(correct),
        ages=tuple(ages),
        misses=sum(verdict.answer is None for verdict in verdicts),
        bytes_up=sum(call.bytes_up for call in played.calls),
        cloud_calls=len(played.calls),
        duration=stream.duration,
        outcomes=dict(played.outcomes),
    )

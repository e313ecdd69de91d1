# SPDX-License-Identifier: Apache-2.0
"""Streaming accuracy: what was known at the time it was true, not what was found out later.

After sAP (Li, Wang, Ramanan: "Towards Streaming Perception", ECCV 2020): at each ground-truth time t the score is that
of the newest answer published at or before t, and before the first one it is a miss. A slow right answer thus costs as
much as a fast wrong one. An answer counts only for its own question.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgevlm_ros.transfer.types import Question

_NOT_A_WORD = re.compile(r"[^\w]+|_+")


@dataclass(frozen=True, slots=True)
class Truth:
    """The one right answer at a time. stamp: nanoseconds in the stream's clock."""

    stamp: int
    question: Question
    answer: str


@dataclass(frozen=True, slots=True)
class Published:
    """An answer as the graph heard it. published: nanoseconds in the stream's clock."""

    published: int
    question: Question
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was known at a truth's time. answer: None for a miss. exact, parts: 0..1."""

    truth: Truth
    answer: Published | None
    exact: float
    parts: float


@dataclass(frozen=True, slots=True)
class Score:
    """Means over verdicts. exact: share of exact matches. parts: mean share of right parts. missed: no answer yet."""

    count: int
    missed: int
    exact: float
    parts: float


def judge(truths: Iterable[Truth], answers: Iterable[Published]) -> list[Verdict]:
    """One verdict for each truth, in order of time. For one pass of a stream: a looped bag has no such order."""
    by_question: dict[Question, list[Published]] = {}
    for answer in sorted(answers, key=lambda answer: answer.published):
        by_question.setdefault(answer.question, []).append(answer)
    times = {question: [answer.published for answer in heard] for question, heard in by_question.items()}
    verdicts = []
    for truth in sorted(truths, key=lambda truth: truth.stamp):
        known = bisect_right(times.get(truth.question, []), truth.stamp)
        newest = by_question[truth.question][known - 1] if known else None
        text = newest.text if newest is not None else ""
        verdicts.append(Verdict(truth, newest, float(matches(text, truth.answer)), right_parts(text, truth.answer)))
    return verdicts


def score(verdicts: Sequence[Verdict]) -> Score | None:
    """None where there is nothing to score."""
    if not verdicts:
        return None
    count = len(verdicts)
    return Score(
        count=count,
        missed=sum(verdict.answer is None for verdict in verdicts),
        exact=sum(verdict.exact for verdict in verdicts) / count,
        parts=sum(verdict.parts for verdict in verdicts) / count,
    )


def score_by_question(verdicts: Sequence[Verdict]) -> Mapping[Question, Score]:
    """In the order in which the questions were first asked."""
    groups: dict[Question, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.truth.question, []).append(verdict)
    return {question: found for question, group in groups.items() if (found := score(group)) is not None}


def normalised(text: str) -> str:
    """Without what does not matter: case, white space, punctuation."""
    return " ".join(_NOT_A_WORD.sub(" ", text.casefold()).split())


def matches(text: str, right: str) -> bool:
    return bool(text) and normalised(text) == normalised(right)


def right_parts(text: str, right: str) -> float:
    """The share of an answer's comma-separated parts that are right, in any order; too many parts cost as well."""
    said, wanted = Counter(_parts(text)), Counter(_parts(right))
    most = max(said.total(), wanted.total())
    return (said & wanted).total() / most if most else 0.0


def _parts(text: str) -> list[str]:
    return [part for piece in text.split(",") if (part := normalised(piece))]

# SPDX-License-Identifier: Apache-2.0
"""The conversation about a camera stream, and how a late cloud answer rewrites it (context replacement).

The SVLM is told what was said before. When the LVLM's answer about an older frame arrives, the past is corrected
rather than annotated: the model goes on with a conversation that was right all along. A History never changes; every
event gives a new one, so the inference thread reads a consistent past while replies come in.
"""

import bisect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from edgevlm_ros.transfer.types import CloudContext, Outcome, Question, Source, Status, Turn

LaterTurns = Literal["drop", "keep"]

_SENTENCE_END = re.compile(r"[.!?;]\s+|\n+")


@dataclass(frozen=True, slots=True)
class Replacement:
    """How cloud answers enter the history.

    max_turns: turns of the standing question in the prompt. later_turns: what becomes of the edge's own turns after
    the keyframe, which were said without knowing better. own_turns: whether the edge's own answers stand in the prompt
    too; they make every prompt different (no prefix to reuse) and repeat their own mistakes. max_context_age: seconds
    from the keyframe after which its answer is no longer told. max_tokens: budget of one cloud answer.
    """

    enabled: bool = True
    max_turns: int = 1
    later_turns: LaterTurns = "drop"
    own_turns: bool = False
    max_context_age: float = 15.0
    max_tokens: int = 64


@dataclass(frozen=True, slots=True)
class History:
    """Turns in order of their stamps, oldest first, at most `capacity` of them."""

    turns: tuple[Turn, ...] = ()
    capacity: int = 256

    def said(self, turn: Turn) -> "History":
        """The history after one more answer."""
        position = bisect.bisect_right(self.turns, turn.stamp, key=lambda other: other.stamp)
        turns = (*self.turns[:position], turn, *self.turns[position:])
        return replace(self, turns=turns[-self.capacity :])

    def latest_cloud_turn(self, question_id: int) -> Turn | None:
        """The newest turn that the cloud has spoken for a question."""
        return next(
            (t for t in reversed(self.turns) if t.source is Source.CLOUD and t.question.id == question_id), None
        )

    def replaced(
        self, context: CloudContext, question: Question, now: int | None, rule: Replacement
    ) -> tuple["History", Outcome]:
        """The history after a cloud reply, and what became of it. Anything but APPLIED leaves the history as it was.

        now: stamp of the newest frame, None before the first. The turn of the keyframe, or the nearest one of the same
        question before it, takes the cloud's words; if there is none, the words make a turn of their own.
        """
        if context.status is not Status.OK or not context.text:
            return self, Outcome.FAILED
        if context.question_id != question.id:
            return self, Outcome.OTHER_QUESTION
        latest = self.latest_cloud_turn(question.id)
        if latest is not None and latest.stamp == context.stamp:
            return self, Outcome.DUPLICATE
        if latest is not None and latest.stamp > context.stamp:
            return self, Outcome.STALE
        # the other way round is a reply to a keyframe of an earlier run of a looping stream
        if now is not None and abs(now - context.stamp) > rule.max_context_age * 1e9:
            return self, Outcome.STALE
        same = [i for i, t in enumerate(self.turns) if t.question.id == question.id and t.stamp <= context.stamp]
        corrected = same[-1] if same and self.turns[same[-1]].source is Source.EDGE else None
        kept = tuple(
            t
            for i, t in enumerate(self.turns)
            if i != corrected
            and not (rule.later_turns == "drop" and t.question.id == question.id and t.stamp > context.stamp)
        )
        turn = Turn(context.stamp, question, context.text, Source.CLOUD)
        return replace(self, turns=kept).said(turn), Outcome.APPLIED

    def prompt_turns(self, question: Question, now: int, rule: Replacement) -> tuple[Turn, ...]:
        """The turns that the model is told at a frame of stamp `now`, oldest first."""
        if rule.max_turns <= 0:
            return ()

        def told(turn: Turn) -> bool:
            if turn.question.id != question.id:
                return False
            if turn.source is Source.EDGE:
                return rule.own_turns
            return rule.enabled and 0 <= now - turn.stamp <= rule.max_context_age * 1e9

        return tuple(turn for turn in self.turns if told(turn))[-rule.max_turns :]


def bounded(text: str, max_tokens: int, count_tokens: Callable[[str], int]) -> str:
    """The text cut to a token budget: at the end of a sentence if a whole one fits, else at a word."""
    text = text.strip()
    if count_tokens(text) <= max_tokens:
        return text
    for ends in ([m.start() + 1 for m in _SENTENCE_END.finditer(text)], [m.start() for m in re.finditer(r"\s+", text)]):
        # the longest cut that fits, by bisection: token counts grow with the text
        fitting = bisect.bisect_right(ends, max_tokens, key=lambda end: count_tokens(text[:end].strip()))
        if fitting:
            return text[: ends[fitting - 1]].strip()
    return ""

# SPDX-License-Identifier: Apache-2.0
"""The conversation about a camera stream, and how a late cloud answer rewrites it (context replacement).

The SVLM is told what was said before. When the LVLM's answer about an older frame arrives, the past is corrected
rather than annotated: the model goes on with a conversation that was right all along. A History never changes; every
event gives a new one, so the inference thread reads a consistent past while replies come in.
"""

import bisect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

from edgevlm_ros.transfer.conversation import worded
from edgevlm_ros.transfer.types import CloudContext, Outcome, Question, Source, Status, Turn

LaterTurns = Literal["drop", "keep"]

CountTokens = Callable[[str], int]

_SENTENCE = re.compile(r".+?(?:[.!?;](?=\s)|[。！？；]|\n|$)", re.DOTALL)
_UNWORDLY = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
_CHARS_PER_TOKEN = 32  # of a text far over its budget no more is read


@dataclass(frozen=True, slots=True)
class Replacement:
    """How cloud answers enter the history.

    max_turns: turns of the standing question in the prompt. later_turns: what becomes of the edge's own turns after
    the keyframe, which were said without knowing better. own_turns: whether the edge's own answers stand in the prompt
    too; they make every prompt different (no prefix to reuse) and repeat their own mistakes. max_context_age: seconds
    from the keyframe after which its answer is no longer told. max_tokens: budget of one cloud answer.
    max_history_tokens: budget of all turns in the prompt together. provenance: whether the prompt says who spoke and
    how long ago. min_similarity: of the frame to the keyframe (tracking.glimpse), below which the keyframe's answer is
    not told; 0 tells it always.
    """

    enabled: bool = True
    max_turns: int = 1
    later_turns: LaterTurns = "drop"
    own_turns: bool = False
    max_context_age: float = 15.0
    max_tokens: int = 64
    max_history_tokens: int = 1024
    provenance: bool = True
    # demo bag: 0.90 and more within 6 s, 0.75 and less between aisles (edgevlm_ros.evaluation.carrying, 2026-11-22)
    min_similarity: float = 0.5


@dataclass(frozen=True, slots=True)
class History:
    """Turns in order of their stamps, oldest first, at most `capacity` of them."""

    turns: tuple[Turn, ...] = ()
    capacity: int = 256

    def said(self, turn: Turn) -> "History":
        """The history after one more answer."""
        position = bisect.bisect_right(self.turns, turn.stamp, key=lambda other: other.stamp)
        turns = [*self.turns[:position], turn, *self.turns[position:]]
        if len(turns) > self.capacity:  # hundreds of the edge's turns must not drive out the one of the cloud
            spoken = [other.source for other in turns]
            del turns[spoken.index(max(Source, key=spoken.count))]
        return replace(self, turns=tuple(turns))

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

    def without_cloud(self, keyframes: Collection[tuple[int, int]] | None) -> "History":
        """The history without what the cloud said about these keyframes, or about any if None.

        keyframes: question id and stamp of each.
        """
        if keyframes is not None and not keyframes:
            return self
        kept = (
            turn
            for turn in self.turns
            if turn.source is Source.EDGE or (keyframes is not None and (turn.question.id, turn.stamp) not in keyframes)
        )
        return replace(self, turns=tuple(kept))

    def prompt_turns(
        self, question: Question, now: int, rule: Replacement, count_tokens: CountTokens
    ) -> tuple[Turn, ...]:
        """The turns that the model is told at a frame of stamp `now`, oldest first, within max_history_tokens."""
        if rule.max_turns <= 0:
            return ()

        def told(turn: Turn) -> bool:
            if turn.question.id != question.id:
                return False
            if turn.source is Source.EDGE:
                return rule.own_turns
            return rule.enabled and 0 <= now - turn.stamp <= rule.max_context_age * 1e9

        turns = tuple(turn for turn in self.turns if told(turn))[-rule.max_turns :]
        exchanges, _ = worded(turns, question.text, now, rule.provenance)
        left, fitting = rule.max_history_tokens, 0
        for exchange in reversed(exchanges):
            left -= count_tokens(exchange.asked) + count_tokens(exchange.said)
            if left < 0:
                break
            fitting += 1
        return turns[len(turns) - fitting :]


def bounded(text: str, max_tokens: int, count_tokens: CountTokens) -> str:
    """The text on one line, cut to a token budget.

    It is cut where its last sentences begin to go round in a loop, at the end of a sentence if a whole one fits, else
    at a word, else (a script without spaces) anywhere. A text within its budget stays whole: "Left. Right. Left." says
    another thing than its parts once each.
    """
    text = text[: max_tokens * _CHARS_PER_TOKEN]
    line = single_line(text)
    if count_tokens(line) <= max_tokens:
        return line
    line = single_line(_without_loop(text))
    sentence_ends = [m.end() for m in _SENTENCE.finditer(line)]
    word_ends = [m.start() for m in re.finditer(r"\s", line)]
    for ends in (sentence_ends, word_ends, range(1, len(line))):
        # the longest cut that fits, by bisection: token counts grow with the text
        fitting = bisect.bisect_right(ends, max_tokens, key=lambda end: count_tokens(line[:end].strip()))
        if fitting:
            return line[: ends[fitting - 1]].strip()
    return ""


def single_line(text: str) -> str:
    """The text on one line, without control characters."""
    return " ".join(_UNWORDLY.sub("", text).split())


def _without_loop(text: str) -> str:
    """The text to the end of the first round, if its last sentences go round three times or more."""
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    sentences = [single_line(text[a:b]).casefold() for a, b in zip([0, *ends], ends, strict=False)]
    last = len(sentences) - 1  # it may be cut off
    for period in range(1, last // 3 + 1):
        start = last
        while start > period and sentences[start - 1] == sentences[start - 1 - period]:
            start -= 1
        if last - start >= 2 * period:
            return text[: ends[start - 1]]
    return text

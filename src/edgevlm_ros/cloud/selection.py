# SPDX-License-Identifier: Apache-2.0
"""Which frames are sent to the cloud, and for what reason.

A frame ages, so nothing is ever queued: when a keyframe is due and there is room in flight, the frame that has just
arrived is the one to send. By a fixed period an empty aisle costs as many calls as a busy one. What a robot hears of
its own small model tells more: told the right thing, it is sure of its answer, and when something comes that nobody
has told it of, it is not. So a keyframe may go early when there is a sign that the cloud would say something new, and
late when there is none.

A sign may be wrong, so early keyframes have to earn what they cost. One whose reply the small model did not need makes
the next wait twice as long, up to the longest period; one that brought something ends the waiting.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, get_args

from edgevlm_ros.tracking.glimpse import Glimpse, similarity

Mode = Literal["period", "adaptive"]
MODES: tuple[str, ...] = get_args(Mode)

Look = Callable[[], Glimpse | None]
"""Gives the glimpse of a frame; None if there is no picture in it."""

_LOOK_EVERY_S = 0.2  # a look costs some milliseconds of a core
_MOST_CHARS = 400  # of an answer that are compared
_ANSWERS = 2  # one alone may be a blurred frame
_MOST_UNJUDGED = 8  # keyframes, where nobody answers them


def _blind() -> None:
    """Of one who cannot look."""


class Reason(str, Enum):
    """Why a frame is a keyframe."""

    QUESTION = "question"  # the first with it
    PERIOD = "period"  # nothing was sent for so long
    UNSURE = "unsure"  # the small model is, although it was told what the cloud said last
    CHANGED = "changed"  # its answer has nothing in common with the last keyframe's
    STALE = "stale"  # what it was told is suspended or too old
    SCENE = "scene"  # the frame does not look like the last keyframe


_SIGNS = (Reason.UNSURE, Reason.CHANGED, Reason.STALE)  # those that wait; another scene does not


@dataclass(frozen=True, slots=True)
class Rule:
    """How keyframes are chosen; all times are seconds.

    period: between two keyframes, in the mode of this name; the others are of the mode "adaptive". min_period,
    max_period: between two keyframes at least, whatever the signs, and at most, without any. min_confidence: of the
    small model's answers, below which it is unsure; 0 never. min_similarity: of a frame to the last keyframe
    (tracking.glimpse), below which it is another scene; 0 never. max_context_age: of what the small model is told.
    """

    mode: Mode = "period"
    period: float = 2.0
    min_period: float = 1.0
    max_period: float = 10.0
    min_confidence: float = 0.93
    min_similarity: float = 0.5
    max_context_age: float = 12.0

    def __post_init__(self) -> None:
        if self.min_period > self.max_period:
            raise ValueError(
                f"keyframes.min_period = {self.min_period:g} is longer than keyframes.max_period = {self.max_period:g}"
            )


@dataclass(frozen=True, slots=True)
class Heard:
    """What the edge node says of a frame; see Answer.msg. context_age: seconds, None if no context was told."""

    question_id: int
    text: str
    confidence: float
    context_age: float | None = None
    suspended: bool = False


@dataclass(slots=True, eq=False)
class Sent:
    """A keyframe that has left. answer: what the small model says of it. reply: what the large one does. after: the
    small one's first answers since the reply."""

    reason: Reason
    answer: Heard | None = None
    reply: str | None = None
    after: list[Heard] = field(default_factory=list)

    def heard(self, answer: Heard) -> None:
        if self.answer is None:
            self.answer = answer
        elif self.reply is not None:
            self.after.append(answer)

    def worth(self, min_confidence: float) -> bool | None:
        """Whether the reply said otherwise than the small model or ended its doubt; None as long as nobody knows."""
        if self.answer is None or self.reply is None:
            return None
        if words(self.reply) != words(self.answer.text):
            return True
        if not self.answer.confidence < min_confidence:  # a confidence that is not known is no doubt
            return False
        if len(self.after) < _ANSWERS:
            return None
        return not all(answer.confidence < min_confidence for answer in self.after)


class Selection:
    """Chooses keyframes frame by frame, with a limit on the requests that are under way.

    Both rule and max_in_flight may be assigned at any time. Not for several threads, except `replied`.
    """

    def __init__(self, rule: Rule, max_in_flight: int) -> None:
        self.rule = rule
        self.max_in_flight = max_in_flight
        self._slot: float | None = None  # when the last keyframe was due: counted on from, so that delays do not add up
        self._question_id: int | None = None
        self._answers: deque[Heard] = deque(maxlen=_ANSWERS)  # the last ones since the last keyframe
        self._words: frozenset[str] = frozenset()  # of the newest answer
        self._words_then: frozenset[str] = frozenset()  # the same when the last keyframe left
        self._view: Glimpse | None = None  # of the last keyframe
        self._looked = float("-inf")
        self._wait = 0.0  # seconds, of sign_period, where min_period is not longer
        self._unjudged: deque[Sent] = deque(maxlen=_MOST_UNJUDGED)
        self._replies: deque[tuple[Sent, str | None]] = deque()

    def is_new(self, question_id: int) -> bool:
        """Whether no keyframe has gone with this question since another one."""
        return question_id != self._question_id

    @property
    def usual_period(self) -> float:
        """Seconds between two keyframes while nothing happens."""
        return self.rule.period if self.rule.mode == "period" else self.rule.max_period

    @property
    def sign_period(self) -> float:
        """Seconds from a keyframe to the next one that goes for a sign, at least: longer after some that brought
        nothing."""
        return max(self.rule.min_period, self._wait)

    def reason(self, now: float, question_id: int, in_flight: int, look: Look = _blind) -> Reason | None:
        """Why the frame that has just arrived is to be sent, if it is. now: seconds on the steady clock.

        look: gives the frame's glimpse; called only where it matters.
        """
        rule, slot = self.rule, self._slot
        self._judge()
        if in_flight >= self.max_in_flight:
            return None
        if slot is None or self.is_new(question_id):
            return Reason.QUESTION
        if rule.mode == "period":
            return Reason.PERIOD if now - slot >= rule.period else None
        if now - slot >= rule.max_period:
            return Reason.PERIOD
        if now - slot < rule.min_period:
            return None
        sign = self._sign() if now - slot >= self.sign_period else None
        return sign or (Reason.SCENE if self._elsewhere(now, look) else None)

    def sent(self, now: float, question_id: int, look: Look = _blind, reason: Reason = Reason.PERIOD) -> Sent:
        """A keyframe left at this time; gives what its reply is told with."""
        rule = self.rule
        on_time = self._slot is not None and not self.is_new(question_id) and now - self._slot < 2 * rule.period
        keeps_time = rule.mode == "period" and on_time
        self._slot = self._slot + rule.period if keeps_time and self._slot is not None else now
        if self.is_new(question_id):
            self._words = frozenset()
            self._unjudged.clear()
        if self.is_new(question_id) or reason is Reason.SCENE:
            self._wait = 0.0
        self._question_id = question_id
        self._words_then = self._words
        self._answers.clear()
        self._view = look() if rule.mode == "adaptive" and rule.min_similarity else None
        sent = Sent(reason)
        self._unjudged.append(sent)
        return sent

    def replied(self, sent: Sent, text: str | None) -> None:
        """What the cloud said of a keyframe, None if nothing. From any thread."""
        self._replies.append((sent, text))

    def heard(self, answer: Heard) -> None:
        """The edge node has answered a frame."""
        if not self.is_new(answer.question_id):
            self._answers.append(answer)
            self._words = words(answer.text)
            self._words_then = self._words_then or self._words
            self._judge()
            for sent in self._unjudged:
                sent.heard(answer)

    def _judge(self) -> None:
        """Learns from the keyframes of which it has become known what they brought."""
        rule = self.rule
        while self._replies:
            sent, text = self._replies.popleft()
            sent.reply = text
            if text is None and sent in self._unjudged:
                self._unjudged.remove(sent)
        for sent in list(self._unjudged):
            worth = sent.worth(rule.min_confidence)
            if worth is not None:
                self._unjudged.remove(sent)
            if worth:
                self._wait = 0.0
            elif worth is False and sent.reason in _SIGNS:
                self._wait = min(2 * self.sign_period, rule.max_period)

    def _sign(self) -> Reason | None:
        """What the answers since the last keyframe say; nothing if nobody answers any more."""
        rule, answers = self.rule, self._answers
        if len(answers) < _ANSWERS:
            return None
        if all(answer.confidence < rule.min_confidence for answer in answers):
            return Reason.UNSURE
        settled = len({words(answer.text) for answer in answers}) == 1
        if settled and self._words and self._words_then and not self._words & self._words_then:
            return Reason.CHANGED
        if all(answer.suspended or (answer.context_age or 0.0) > rule.max_context_age for answer in answers):
            return Reason.STALE
        return None

    def _elsewhere(self, now: float, look: Look) -> bool:
        """Whether the frame shows another scene than the last keyframe. Unknown is no."""
        if self._view is None or not self.rule.min_similarity or now - self._looked < _LOOK_EVERY_S:
            return False
        self._looked, view = now, look()
        return view is not None and similarity(self._view, view) < self.rule.min_similarity


def words(text: str) -> frozenset[str]:
    """Of an answer, whatever their order and case."""
    return frozenset(re.findall(r"\w+", text[:_MOST_CHARS].lower()))

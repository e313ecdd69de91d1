# SPDX-License-Identifier: Apache-2.0
"""A stream in virtual time: when frames come, when they are taken, and what goes to the cloud and comes back.

Nothing here waits and no model is asked. A frame comes at its stamp; who answers it is busy for a time drawn from
measured ones and then takes the newest frame, as the node's slot gives it; what is sent to the cloud comes back when
the delay model says so. All times are whole nanoseconds of the stream's clock.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

from edgevlm_ros.cloud import budget as cloud
from edgevlm_ros.cloud.client import CloudResult
from edgevlm_ros.cloud.selection import Heard, Reason, Rule, Selection, Sent
from edgevlm_ros.evaluation import timings
from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.robot import Bridge
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.evaluation.timings import Timings
from edgevlm_ros.tracking.glimpse import Glimpse, glimpse
from edgevlm_ros.transfer.types import Question, Status

_GLIMPSES = 512  # that are held, of 60 kB each
REPLY_BYTES = 300  # of a reply on its way down: an answer, a box or two, and JSON around them


@dataclass(frozen=True, slots=True)
class Call:
    """One call to the cloud about the frame of `stamp`. arrival: of its reply, None if it is lost. over: when the
    bridge stops waiting for it."""

    number: int
    stamp: int
    question: Question
    sent: int
    arrival: int | None
    over: int
    bytes_up: int


Make = Callable[[int, int, Question], Call]
"""Makes the call about a keyframe, of its number, stamp and question."""
Read = Callable[[Call], str | None]
"""What the bridge reads in the reply to a call that is over, None if there is none."""


def _unread(call: Call) -> None:
    """By who does not listen to replies."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A frame on its way into the model. start: when. missed: stamps of the frames that it took the place of."""

    stamp: int
    start: int
    missed: tuple[int, ...] = ()


class Timeline:
    """One stream, its questions, and the way to the cloud. drawn: measured compute times."""

    def __init__(self, stream: Stream, bridge: Bridge, drawn: Timings, seed: int = 0) -> None:
        self.stream = stream
        self.bridge = bridge
        self.seed = seed
        self._timings = drawn
        self._number = zlib.crc32(stream.name.encode())
        self.glimpse = lru_cache(_GLIMPSES)(self._glimpse)

    def _glimpse(self, stamp: int) -> Glimpse:
        """As the bridge sees a frame."""
        return glimpse(stamp, self.stream.frame(stamp).image)

    @property
    def begin(self) -> int:
        return self.stream.stamps[0]

    def question(self, now: int) -> Question | None:
        """The one that stands, None before the first."""
        return self.stream.question_at(now)

    def cost(self, kind: str, stamp: int) -> int:
        """Nanoseconds of compute for a frame. kind: of timings.KINDS."""
        return round(self._timings.draw(kind, self.seed, self._number, stamp) * 1e9)

    @cached_property
    def keyframe_bytes(self) -> float:
        """The mean of all frames as uploads."""
        return sum(map(self.stream.jpeg_bytes, self.stream.stamps)) / len(self.stream.stamps)

    @property
    def byte_rate(self) -> float:
        """Bytes a second that a policy may send: a keyframe each period, or what the limits leave of it."""
        bridge, size = self.bridge, self.keyframe_bytes
        rates = [size / bridge.keyframes.period]
        if bridge.limits.calls_per_minute:
            rates.append(size * bridge.limits.calls_per_minute / 60.0)
        if bridge.limits.bytes_per_minute:
            rates.append(bridge.limits.bytes_per_minute / 60.0)
        return min(rates)

    def budget(self) -> Budget:
        return Budget(self.byte_rate, self.keyframe_bytes)

    def call(
        self, link: Latency, number: int, stamp: int, question: Question, sent: int, bytes_up: int, compute: int
    ) -> Call:
        """A call that leaves at `sent`. compute: nanoseconds in the cloud."""
        seconds = (sent - self.begin) / 1e9
        arrival = link.arrival(seconds, bytes_up, REPLY_BYTES, compute / 1e9)
        over = sent + round(self.bridge.timeout * 1e9)
        comes = None if arrival is None else self.begin + round(arrival * 1e9)
        if comes is None or comes > over:
            return Call(number, stamp, question, sent, None, over, bytes_up)
        return Call(number, stamp, question, sent, comes, comes, bytes_up)

    def keyframes(self, link: Latency) -> list[Call]:
        """What the bridge sends to who tells it nothing: a keyframe each period, at once when the question changes, no
        more than it may have in flight."""
        return self.scheduled(self.images(link))

    def images(self, link: Latency) -> Make:
        """Calls that upload the keyframe as it is captured."""
        return lambda number, stamp, question: self.call(
            link, number, stamp, question, stamp, self.stream.jpeg_bytes(stamp), self.cost(timings.CLOUD, stamp)
        )

    def scheduled(self, make: Make, budget: Budget | None = None) -> list[Call]:
        """Calls at the bridge's times, and not beyond a budget, for who tells the bridge nothing."""
        sending = self.sending(make, budget)
        sending.until(self.stream.stamps[-1])
        return sending.calls

    def sending(
        self, make: Make, budget: Budget | None = None, rule: Rule | None = None, read: Read = _unread
    ) -> Sending:
        """The bridge, to be led through the stream. rule: instead of its own."""
        return Sending(self, make, budget, rule or self.bridge.keyframes, read)


class Sending:
    """The bridge in virtual time: decides about each frame as it comes, by what it has heard by then."""

    def __init__(self, line: Timeline, make: Make, budget: Budget | None, rule: Rule, read: Read) -> None:
        self.calls: list[Call] = []
        self.reasons: Counter[Reason] = Counter()
        self._line, self._make, self._budget, self._read = line, make, budget, read
        self._selection = Selection(rule, line.bridge.max_in_flight)
        self._limits = cloud.Budget(line.bridge.limits)
        self._stamps = list(reversed(line.stream.stamps))
        self._heard: deque[tuple[int, Heard]] = deque()
        self._under_way: list[tuple[Call, Sent]] = []

    def hear(self, at: int, heard: Heard) -> None:
        """An answer that is published at this time, later than those before it."""
        self._heard.append((at, heard))

    def until(self, now: int) -> Sequence[Call]:
        """Decides about the frames that have come by then; gives the calls that are new."""
        known = len(self.calls)
        while self._stamps and self._stamps[-1] <= now:
            self._decide(self._stamps.pop())
        return self.calls[known:]

    def _decide(self, stamp: int) -> None:
        line, selection = self._line, self._selection
        self._listen(stamp)
        question, now = line.question(stamp), (stamp - line.begin) / 1e9
        in_flight = sum(call.over > stamp for call in self.calls)
        if question is None or self._limits.refuses(now, urgent=selection.is_new(question.id)):
            return
        look = partial(line.glimpse, stamp)
        reason = selection.reason(now, question.id, in_flight, look)
        if reason is None or (self._budget is not None and not self._budget.open(stamp)):
            return
        sent = selection.sent(now, question.id, look, reason)
        self.reasons[reason] += 1
        call = self._make(len(self.calls) + 1, stamp, question)
        if self._budget is not None:
            self._budget.spend(call.sent, call.bytes_up)
        self._limits.ended(self._limits.sent(now), CloudResult(Status.OK, bytes_up=call.bytes_up))
        self.calls.append(call)
        self._under_way.append((call, sent))

    def _listen(self, now: int) -> None:
        """Tells the selection what the bridge has heard by then, in order of time."""
        over = sorted((pair for pair in self._under_way if pair[0].over <= now), key=lambda pair: pair[0].over)
        self._under_way = [pair for pair in self._under_way if pair[0].over > now]
        for until in (*(call.over for call, _ in over), now):
            while self._heard and self._heard[0][0] <= until:
                self._selection.heard(self._heard.popleft()[1])
            while over and over[0][0].over <= until:
                call, sent = over.pop(0)
                self._selection.replied(sent, self._read(call))


class Camera:
    """The newest-frame slot in virtual time."""

    def __init__(self, stamps: Sequence[int]) -> None:
        self._stamps = stamps
        self._next = 0

    def take(self, free: int) -> Taken | None:
        """The newest frame for one who is free from then on, or the next that comes; None at the end."""
        if self._next >= len(self._stamps):
            return None
        newest = max(bisect_right(self._stamps, free) - 1, self._next)
        missed = tuple(self._stamps[self._next : newest])
        self._next = newest + 1
        stamp = self._stamps[newest]
        return Taken(stamp, max(stamp, free), missed)


class Budget:
    """Bytes that may go up: a bucket that fills at a rate and holds one keyframe.

    A call may go while anything is in it, and may take it below zero: then the next one waits for longer. So a policy
    that uploads more per call calls less often.
    """

    def __init__(self, rate: float, most: float) -> None:
        """rate: bytes a second. most: bytes that it holds."""
        self._rate = rate
        self._most = self._level = most
        self._filled: int | None = None

    def open(self, now: int) -> bool:
        self._fill(now)
        return self._level > 0

    def spend(self, now: int, size: int) -> None:
        self._fill(now)
        self._level -= size

    def _fill(self, now: int) -> None:
        if self._filled is not None and now > self._filled:
            self._level = min(self._most, self._level + self._rate * (now - self._filled) / 1e9)
        self._filled = now if self._filled is None else max(now, self._filled)


def in_order(calls: Iterable[Call]) -> list[Call]:
    """The calls that are answered, in order of arrival; none about an older frame than one before it in the list."""
    shown: list[Call] = []
    for call in sorted((c for c in calls if c.arrival is not None), key=lambda call: (call.arrival, call.stamp)):
        if not shown or call.stamp > shown[-1].stamp:
            shown.append(call)
    return shown

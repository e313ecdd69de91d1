# SPDX-License-Identifier: Apache-2.0
"""A stream in virtual time: when frames come, when they are taken, and what goes to the cloud and comes back.

Nothing here waits and no model is asked. A frame comes at its stamp; who answers it is busy for a time drawn from
measured ones and then takes the newest frame, as the node's slot gives it; what is sent to the cloud comes back when
the delay model says so. All times are whole nanoseconds of the stream's clock.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from edgevlm_ros.cloud.keyframes import KeyframeSchedule
from edgevlm_ros.evaluation import timings
from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.robot import Bridge
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.evaluation.timings import Timings
from edgevlm_ros.transfer.types import Question

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
        """Bytes a second that a policy may send: one keyframe each period."""
        return self.keyframe_bytes / self.bridge.period

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
        """What the bridge sends: a keyframe each period, at once when the question changes, no more than it may have in
        flight."""
        return self.scheduled(
            lambda number, stamp, question: self.call(
                link, number, stamp, question, stamp, self.stream.jpeg_bytes(stamp), self.cost(timings.CLOUD, stamp)
            )
        )

    def scheduled(self, make: Callable[[int, int, Question], Call], budget: Budget | None = None) -> list[Call]:
        """Calls at the bridge's times, and not beyond a budget. make: of number, stamp and question."""
        schedule = KeyframeSchedule(self.bridge.period, self.bridge.max_in_flight)
        calls: list[Call] = []
        for stamp in self.stream.stamps:
            question, now = self.question(stamp), (stamp - self.begin) / 1e9
            in_flight = sum(call.over > stamp for call in calls)
            if question is None or not schedule.due(now, question.id, in_flight):
                continue
            if budget is not None and not budget.open(stamp):
                continue
            schedule.sent(now, question.id)
            call = make(len(calls) + 1, stamp, question)
            if budget is not None:
                budget.spend(call.sent, call.bytes_up)
            calls.append(call)
        return calls


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

# SPDX-License-Identifier: Apache-2.0
"""How long the asked facts live: what decides whether a late answer is worth anything.

A fact is a name, the individual thing that it is about, and a value: (load, cart 7, acid). Each frame of an annotated
stream lists the facts that its answer is made of. A fact's life around a time t reaches

- from the first frame of the unbroken run of frames that list it and that contains t,
- to the first frame that lists facts without it: the value, the thing or the question is another one by then.

A frame that lists no facts (it has no honest question: half hidden, on a border) says nothing; up to GAP_S seconds of
such frames are bridged, more end the life one frame after the last that listed it. Lives are cut by the ends of the
stream, so long ones are at least as long as given. A life has time before and after t: within one of 5 s, an answer
that is 2.5 s old is still true half of the time, and one that is 5 s old never.

An answer of several facts has two lifetimes: its *shortest*, for which the answer as a whole stays true, and its
*longest*, for which a part of it stays true.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

GAP_S = 1.0
EDGES = (1.0, 3.0, 10.0, 30.0)  # seconds
BINS = ("< 1 s", "1-3 s", "3-10 s", "10-30 s", "> 30 s")


class Fact(Protocol):
    """What is needed of a stream's facts."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def object_id(self) -> int: ...


_Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds for which the whole answer of a frame, and the part of it that lives longest, is true."""

    shortest: float
    longest: float


def lifetimes(facts: Mapping[int, Sequence[Fact]]) -> dict[int, Lifetime]:
    """By the stamp of each frame that lists facts. facts: by stamp, nanoseconds."""
    frames = [(stamp, {_key(fact) for fact in facts[stamp]}) for stamp in sorted(facts) if facts[stamp]]
    lives: dict[int, list[float]] = {stamp: [] for stamp, _ in frames}
    period = _period(sorted(facts))
    running: dict[_Key, list[int]] = {}

    def end(key: _Key, at: int) -> None:
        stamps = running.pop(key)
        for stamp in stamps:
            lives[stamp].append((at - stamps[0]) / 1e9)

    last = 0
    for stamp, keys in frames:
        broken = stamp - last > GAP_S * 1e9
        for key in [key for key in running if broken or key not in keys]:
            end(key, last + period if broken else stamp)
        for key in keys:
            running.setdefault(key, []).append(stamp)
        last = stamp
    for key in list(running):
        end(key, last + period)
    return {stamp: Lifetime(min(each), max(each)) for stamp, each in lives.items()}


def bin_of(seconds: float) -> int:
    """The place of a lifetime in BINS; a border belongs to the longer-lived."""
    return bisect_right(EDGES, seconds)


def _key(fact: Fact) -> _Key:
    return fact.name, fact.object_id, fact.value


def _period(stamps: Sequence[int]) -> int:
    """The usual time from one frame to the next, nanoseconds; no more than the gap that is bridged."""
    steps = sorted(after - before for before, after in pairwise(stamps))
    return min(steps[len(steps) // 2], int(GAP_S * 1e9)) if steps else 0

# SPDX-License-Identifier: Apache-2.0
"""When a camera's images came and what their stamps said: the plain numbers that a camera's health is told from."""

from __future__ import annotations

import math
import threading
from collections import deque
from itertools import pairwise
from statistics import median, pstdev
from typing import NamedTuple

WINDOW_S = 5.0
"""So long counts as 'the last seconds'."""

_MAX_ARRIVALS = 1000
_FEWEST_GAPS, _MOST = 8, 0.9  # of stamps, to call a camera regular; share of them that has to be
_REGULAR = 0.15  # of a period


class Arrival(NamedTuple):
    """One image that came."""

    time: float
    """Seconds on the steady clock."""
    stamp: int
    """Of its header, nanoseconds."""
    clock: int
    """The node's clock at that time, nanoseconds: wall time, or simulated time."""

    @property
    def age(self) -> float:
        """Seconds from the stamp to the arrival, by the node's clock; below 0 for a stamp of the future."""
        return (self.clock - self.stamp) * 1e-9


class Arrivals:
    """The images of the last seconds, and always the last two. One thread adds, any thread asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: deque[Arrival] = deque(maxlen=_MAX_ARRIVALS)
        self._lost: deque[tuple[float, int]] = deque(maxlen=_MAX_ARRIVALS)

    def add(self, arrival: Arrival) -> None:
        with self._lock:
            self._newest.append(arrival)
            self._forget(arrival.time)

    def add_lost(self, time: float, images: int) -> None:
        """Takes note that the middleware lost so many images on their way. time: seconds on the steady clock."""
        with self._lock:
            self._lost.append((time, images))

    def lost(self, now: float) -> int:
        """Images that the middleware lost in the last seconds."""
        with self._lock:
            return sum(images for time, images in self._lost if time >= now - WINDOW_S)

    def newest(self, now: float) -> tuple[Arrival, ...]:
        """In order of arrival; now: seconds on the steady clock."""
        with self._lock:
            self._forget(now)
            return tuple(self._newest)

    def last(self) -> Arrival | None:
        with self._lock:
            return self._newest[-1] if self._newest else None

    def _forget(self, now: float) -> None:
        while len(self._newest) > 2 and self._newest[0].time < now - WINDOW_S:
            self._newest.popleft()


def rate(arrivals: tuple[Arrival, ...], now: float) -> float:
    """Images per second; 0 before the second image. Falls as soon as the next image is late."""
    if len(arrivals) < 2:
        return 0.0
    first, last = arrivals[0].time, arrivals[-1].time
    # exact while images come, an upper bound when they do not
    return min((len(arrivals) - 1) / max(last - first, 1e-9), len(arrivals) / max(now - first, 1e-9))


def jitter(arrivals: tuple[Arrival, ...]) -> float:
    """Standard deviation of the time between two images, in seconds; NaN before the third."""
    times = [arrival.time for arrival in arrivals]
    gaps = [after - before for before, after in pairwise(times)]
    return pstdev(gaps) if len(gaps) > 1 else math.nan


def typical_age(arrivals: tuple[Arrival, ...]) -> float:
    """Median of the stamps' ages in seconds, so that one image around a jump in time says nothing; NaN without any."""
    return median(arrival.age for arrival in arrivals) if arrivals else math.nan


def missing(arrivals: tuple[Arrival, ...]) -> int:
    """Images that are missing between those that came, by their stamps: gaps that are multiples of the camera's period.

    0 where they are no multiples: the camera itself is irregular.
    """
    gaps = [after.stamp - before.stamp for before, after in pairwise(arrivals) if after.stamp > before.stamp]
    if len(gaps) < _FEWEST_GAPS:
        return 0
    shortest = median(gap for gap in gaps if gap < 1.5 * min(gaps))
    for part in (1, 2, 3):  # where no two that follow each other came
        periods = [gap * part / shortest for gap in gaps]
        if sum(abs(count - round(count)) < _REGULAR for count in periods) >= _MOST * len(gaps):
            return sum(map(round, periods)) - len(periods)
    return 0

# SPDX-License-Identifier: Apache-2.0
"""What the stream's clock showed when a message was sent, however late it was heard.

A recorder that is short of a core hears everything late, /clock too. Each message carries the wall time at which it was
sent, so the ticks of /clock tell what the stream's clock showed then.
"""

from __future__ import annotations

from collections import deque

_TICKS = 64
_LEAST_SPAN_NS = 200_000_000  # of wall time, to tell the clock's rate from


class StreamClock:
    """A simulated clock as its ticks told it. All times are nanoseconds."""

    def __init__(self) -> None:
        self._ticks: deque[tuple[int, int]] = deque(maxlen=_TICKS)
        self._began = 0

    @property
    def began(self) -> int:
        """What it showed at first."""
        return self._began

    def tick(self, stream: int, wall: int) -> None:
        """The clock showed `stream` when the wall showed `wall`."""
        if self._ticks and stream < self._ticks[-1][0]:  # a looping bag
            self._ticks.clear()
        self._began = self._began if self._ticks else stream
        self._ticks.append((stream, wall))

    def at(self, wall: int) -> int | None:
        """What the clock showed at a wall time near the last ticks, or when it began, if that was later; None before
        the first tick."""
        if not self._ticks:
            return None
        (first_stream, first_wall), (stream, last_wall) = self._ticks[0], self._ticks[-1]
        span = last_wall - first_wall
        rate = (stream - first_stream) / span if span >= _LEAST_SPAN_NS else 1.0
        return max(self._began, stream + round((wall - last_wall) * rate))

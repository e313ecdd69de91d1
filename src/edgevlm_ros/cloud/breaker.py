# SPDX-License-Identifier: Apache-2.0
"""Whether the way to the cloud is worth a keyframe now.

A server that fails several times in a row gets no keyframe until a pause is over; the newest one is then the probe,
alone, and its answer opens the way again. Ours, since no library (purgatory, pybreaker, aiobreaker, circuitbreaker)
lets one probe through at a time, lengthens its pauses and heeds Retry-After, and all of them wrap the call, where here
the question comes before a frame is encoded.
"""

import random
from collections.abc import Callable

LONGEST_PAUSE = 900.0
"""Seconds that are granted to a server which asks for a pause: it may ask for a day, or by mistake for a century."""


class Breaker:
    """A circuit breaker on a clock that is handed in (now: seconds on the steady clock). Not for several threads.

    failures: in a row, after which it opens. first, longest: seconds from a failed probe's departure to the next one,
    doubled from one to the next and shortened by up to a quarter at random. draw: numbers in [0, 1).
    """

    def __init__(
        self, failures: int = 3, first: float = 1.0, longest: float = 10.0, draw: Callable[[], float] = random.random
    ) -> None:
        self._limit = failures
        self._first = first
        self._longest = max(first, longest)
        self._draw = draw
        self._in_a_row = 0
        self._pause = 0.0  # of the outage that lasts; 0 while the way is open
        self._probe_at = 0.0
        self._asked_until = float("-inf")
        self._probe: float | None = None  # when it left

    def refuses(self, now: float) -> str:
        """Why nothing may be sent now, for people; empty if a keyframe may go."""
        if now < self._asked_until:
            return f"the server asked for a pause, {self._asked_until - now:.1f} s are left"
        if not self._pause:
            return ""
        reason = f"{self._in_a_row} failures in a row"
        if self._probe is not None:
            return f"{reason}, a probe is on its way"
        return f"{reason}, the next probe is in {self._probe_at - now:.1f} s" if now < self._probe_at else ""

    def sent(self, now: float) -> float | None:
        """A request leaves. Returns what makes it the probe, if it is; ended() wants to know."""
        if self._pause:
            self._probe = now
        return self._probe

    def ended(self, now: float, well: bool | None, *, probe: float | None = None, retry_after: float = 0.0) -> None:
        """A request came back. well: None if it tells nothing about the server, for it never went there.

        retry_after: seconds for which the server wants no request.
        """
        is_probe = probe is not None and probe == self._probe
        if is_probe:
            self._probe = None
        if well is None:
            return
        if well:
            self._in_a_row, self._pause, self._probe = 0, 0.0, None
            return
        self._in_a_row += 1
        if retry_after > 0.0:
            self._asked_until = max(self._asked_until, now + min(retry_after, LONGEST_PAUSE))
            self._pause = self._pause or self._first
        elif not self._pause and self._in_a_row >= self._limit:
            self._pause = self._first
            self._probe_at = now + self._shortened(self._pause)
        elif is_probe and probe is not None:
            self._pause = min(2.0 * self._pause, self._longest)
            self._probe_at = probe + self._shortened(self._pause)

    def _shortened(self, pause: float) -> float:
        return pause * (1.0 - 0.25 * self._draw())

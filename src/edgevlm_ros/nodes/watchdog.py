# SPDX-License-Identifier: Apache-2.0
"""Notices that the inference thread hangs, and says so to whoever can do something about it.

A driver that is stuck, a GPU that fell off its bus and a lock in a library leave a call that never returns. Nothing
raises, nothing is logged, and the node looks alive while no answer comes.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SLOW_FACTOR = 10.0
"""A step may take so many times the longest of the last ones: a busy machine is slow, not stuck."""
_REMEMBERED = 20
_LOOKS = 10.0  # within the declared time


def patience(declared: float, took: float) -> float:
    """Seconds without progress that a step may take. took: the longest time without it in the last steps."""
    return max(declared, _SLOW_FACTOR * took)


class Pulse:
    """When the inference thread last got on. clock: seconds, steady."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self._longest = 0.0
        self.thread: int | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """One step of inference, on the thread that is watched."""
        self.thread = threading.get_ident()
        self._longest, self._last = 0.0, self._clock()
        try:
            yield
        finally:
            self.beat()
            self._took.append(self._longest)
            self._last = None

    def beat(self) -> None:
        """There is progress: a token, or the end of a step."""
        now, last = self._clock(), self._last
        if last is not None:
            self._longest = max(self._longest, now - last)
            self._last = now

    def still(self) -> float:
        """Seconds without progress; 0 between two steps."""
        last = self._last
        return 0.0 if last is None else self._clock() - last

    @property
    def took(self) -> float:
        """The longest time without progress in the last steps that ended."""
        return max(self._took, default=0.0)


class Watchdog:
    """Calls `bark` once, on a thread of its own, if a step gets nowhere for longer than `patience(declared, ...)`.

    declared: seconds, more than 0. bark: takes how long there was no progress, and where the thread stands.
    """

    def __init__(self, pulse: Pulse, declared: float, bark: Callable[[float, str], None]) -> None:
        self._pulse = pulse
        self._declared = declared
        self._bark = bark
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watches no more. May be called again, and by the bark itself."""
        self._over.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._declared / _LOOKS):
            still = self._pulse.still()
            if still > patience(self._declared, self._pulse.took):
                self._bark(still, whereabouts(self._pulse.thread))
                return


def whereabouts(thread: int | None) -> str:
    """Where a thread stands, the innermost call first."""
    frame: FrameType | None = sys._current_frames().get(thread) if thread is not None else None
    if frame is None:
        return "nowhere"
    calls = traceback.extract_stack(frame)[-3:]
    return " < ".join(f"{call.name} ({call.filename.rpartition('/')[2]}:{call.lineno})" for call in reversed(calls))

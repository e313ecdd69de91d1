# SPDX-License-Identifier: Apache-2.0
"""Who may use the model now: frames first, background work in slices between them.

Two frames that follow each other at once let one slice through, so that the background gets on even when the model is
never idle, and a frame waits for one slice at most.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# A frame that was begun and not ended for so long has failed in between.
_ABANDONED_S = 1.0


class Turns:
    """Hands the model to one thread at a time."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._busy = False
        self._waiting_frames = 0
        self._waiting_slices = 0
        self._slice_is_due = False
        self._frame_begun: float | None = None

    @contextmanager
    def frame(self, ends: bool = True) -> Iterator[None]:
        """The next step of a frame. ends: whether it is its last one; between its steps no slice comes in."""
        with self._condition:
            self._waiting_frames += 1
            self._condition.wait_for(lambda: not self._busy and not self._slice_is_due)
            self._waiting_frames -= 1
            self._busy = True
        try:
            yield
        finally:
            with self._condition:
                self._busy = False
                self._slice_is_due = ends and self._waiting_slices > 0
                self._frame_begun = None if ends else time.monotonic()
                self._condition.notify_all()

    @contextmanager
    def slice(self) -> Iterator[None]:
        """One slice of background work."""
        with self._condition:
            self._waiting_slices += 1
            while self._busy or (not self._slice_is_due and (self._waiting_frames > 0 or self._in_a_frame())):
                self._condition.wait(0.1)
            self._waiting_slices -= 1
            self._slice_is_due = False
            self._busy = True
        try:
            yield
        finally:
            with self._condition:
                self._busy = False
                self._condition.notify_all()

    def _in_a_frame(self) -> bool:
        return self._frame_begun is not None and time.monotonic() - self._frame_begun < _ABANDONED_S

# SPDX-License-Identifier: Apache-2.0
"""The present run of a camera's stream, and what belongs to it.

A bag that loops, a simulation that is reset: the same stamps come again and mean other frames. What was said about the
frames of the run before, or comes late about them, must not be told of the frames of this one.
"""

RESTART_NS = 1_000_000_000
"""A frame this much older than the newest one means that the stream began anew, not jitter."""

_SKEW_S = 0.25  # at most, between the arrivals of one frame at two nodes


class Epoch:
    """One camera's present run. All times of arrival are seconds on the steady clock. For one thread."""

    def __init__(self) -> None:
        self._newest: int | None = None
        self._began = float("-inf")

    def frame(self, stamp: int, now: float) -> bool:
        """Takes note of a frame that came now; whether the stream begins anew with it. stamp: nanoseconds."""
        anew = self._newest is not None and stamp < self._newest - RESTART_NS
        if anew:
            self.begin(now)
        self._newest = stamp if self._newest is None else max(self._newest, stamp)
        return anew

    def begin(self, now: float) -> None:
        """The frames to come are of a new run."""
        self._newest, self._began = None, now

    def holds(self, stamp: int, sent: float) -> bool:
        """Whether a reply about the keyframe of this stamp is about this run. sent: when the keyframe was sent."""
        if sent < self._began - _SKEW_S:
            return False
        return self._newest is None or stamp <= self._newest + RESTART_NS

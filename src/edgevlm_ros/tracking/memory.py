# SPDX-License-Identifier: Apache-2.0
"""The glimpses of the last seconds, so that a late answer finds its keyframe and the way from it to now."""

import bisect
import threading

from edgevlm_ros.tracking.glimpse import Glimpse

_MOST = 600


class Memory:
    """Glimpses in order of their stamps, from any thread.

    horizon_s: seconds that are remembered; may be assigned at any time. Frames that come faster than 600 in that time
    are thinned out.
    """

    def __init__(self, horizon_s: float) -> None:
        self.horizon_s = horizon_s
        self._lock = threading.Lock()
        self._glimpses: list[Glimpse] = []

    def add(self, glimpse: Glimpse) -> None:
        """Remembers a frame, and forgets those that are older than the horizon by now."""
        with self._lock:
            held = self._glimpses
            position = bisect.bisect_left(held, glimpse.stamp, key=_stamp)
            near = held[max(position - 1, 0) : position + 1]
            horizon = round(self.horizon_s * 1e9)
            if any(abs(other.stamp - glimpse.stamp) < max(horizon // (_MOST - 1), 1) for other in near):
                return
            held.insert(position, glimpse)
            del held[: bisect.bisect_left(held, held[-1].stamp - horizon, key=_stamp)]

    @property
    def newest(self) -> Glimpse | None:
        with self._lock:
            return self._glimpses[-1] if self._glimpses else None

    def at(self, stamp: int, tolerance_s: float = 0.25) -> Glimpse | None:
        """The glimpse nearest to a stamp, if there is one within the tolerance."""
        with self._lock:
            position = bisect.bisect_left(self._glimpses, stamp, key=_stamp)
            near = self._glimpses[max(position - 1, 0) : position + 1]
        nearest = min(near, key=lambda glimpse: abs(glimpse.stamp - stamp), default=None)
        return nearest if nearest is not None and abs(nearest.stamp - stamp) <= tolerance_s * 1e9 else None

    def since(self, stamp: int) -> tuple[Glimpse, ...]:
        """The glimpses after a stamp, oldest first."""
        with self._lock:
            return tuple(self._glimpses[bisect.bisect_right(self._glimpses, stamp, key=_stamp) :])

    def clear(self) -> None:
        with self._lock:
            self._glimpses.clear()


def _stamp(glimpse: Glimpse) -> int:
    return glimpse.stamp

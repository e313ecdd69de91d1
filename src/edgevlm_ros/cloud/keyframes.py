# SPDX-License-Identifier: Apache-2.0
"""Which frames are sent to the cloud.

A frame ages, so nothing is ever queued: when a keyframe is due and there is room in flight, the frame that has just
arrived is the one to send; when there is none, the next frame is asked again.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class KeyframeSchedule:
    """Keyframes by period, with a limit on the requests that are under way.

    period: seconds on the steady clock between two keyframes. A new question is due at once.
    """

    period: float
    max_in_flight: int
    _slot: float | None = None  # when the last keyframe was due: counted on from, so that late frames do not add up
    _question_id: int | None = None

    def due(self, now: float, question_id: int, in_flight: int) -> bool:
        """Whether the frame that has just arrived is to be sent. now: seconds on the steady clock."""
        if in_flight >= self.max_in_flight:
            return False
        return self._slot is None or self.is_new(question_id) or now - self._slot >= self.period

    def is_new(self, question_id: int) -> bool:
        """Whether no keyframe has gone with this question since another one."""
        return question_id != self._question_id

    def sent(self, now: float, question_id: int) -> None:
        """A keyframe left at this time."""
        on_time = self._slot is not None and question_id == self._question_id and now - self._slot < 2 * self.period
        self._slot = self._slot + self.period if on_time and self._slot is not None else now
        self._question_id = question_id

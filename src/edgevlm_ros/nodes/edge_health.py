# SPDX-License-Identifier: Apache-2.0
"""How answering goes for one camera of the edge node: what was counted, and what it means in words that say what to do.

Everything here is a function of counts and rates; the camera counts.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticStatus

from edgevlm_msgs.msg import Metrics as MetricsMsg
from edgevlm_ros.edge.memory_budget import ADVICE
from edgevlm_ros.nodes.arrivals import Arrivals, rate
from edgevlm_ros.nodes.camera import percentile
from edgevlm_ros.nodes.camera_health import Health
from edgevlm_ros.transfer.types import Status

_FAILING = 3  # frames in a row
# Answers are about the newest frame, however many were dropped before it: 3 Hz behind a camera of 30 Hz is as it should
# be. What hurts is the age of what is known, and in more than a second a person has walked out of the region.
_SLOW_HZ = 1.0


class EdgeCounters:
    """What has been seen and done since the node was activated; see Metrics.msg."""

    def __init__(self) -> None:
        self.seen = self.replaced = self.unasked = self.answered = self.bad = 0
        self.applied = self.ignored = self.suspended = 0
        self.failures_in_a_row = 0
        self.last_error = ""
        self.stuck = ""  # what the watchdog found
        self.context_age = math.nan
        self.last_context: tuple[float, int] | None = None
        self.answers = Arrivals()
        self.inference: deque[float] = deque(maxlen=100)
        self.overhead: deque[float] = deque(maxlen=100)

    def failed(self, error: Exception) -> None:
        """Takes note of a frame that was not answered."""
        self.bad += 1
        self.failures_in_a_row += 1
        self.last_error = str(error) or repr(error)

    def metrics(self, now: float) -> MetricsMsg:
        """The figures of the frames, the contexts and the answers. now: steady clock, seconds."""
        return MetricsMsg(
            frames_seen=self.seen,
            frames_answered=self.answered,
            frames_dropped=self.replaced + self.unasked,
            frames_bad=self.bad,
            contexts_applied=self.applied,
            contexts_ignored=self.ignored,
            contexts_suspended=self.suspended,
            answer_rate=rate(self.answers.newest(now), now),
            context_age=self.context_age,
            inference_p50=percentile(self.inference, 0.5),
            inference_p95=percentile(self.inference, 0.95),
            overhead_p95=percentile(self.overhead, 0.95),
        )

    def health(self, frame_rate: float, answer_rate: float, left_out: str = "") -> Health:
        """How answering goes while images come. Rates: of each second. left_out: see Pipeline.left_out."""
        if self.stuck:
            return DiagnosticStatus.ERROR, self.stuck
        if self.failures_in_a_row >= _FAILING:
            return DiagnosticStatus.ERROR, (
                f"{self.failures_in_a_row} frames in a row were not answered, the last one since: {self.last_error}"
            )
        if left_out:
            return DiagnosticStatus.WARN, f"memory ran out: frames are answered {left_out}, until more fits; {ADVICE}"
        if len(self.inference) >= _FAILING and 0.0 < answer_rate < _SLOW_HZ and frame_rate >= 2.0 * answer_rate:
            return DiagnosticStatus.WARN, (
                f"the model gives {answer_rate:.1f} answers a second and the camera {frame_rate:.1f} frames, so that "
                "what is known is older than a second: take a smaller model, fewer tokens (max_new_tokens) or a lower "
                "focus.pixel_budget"
            )
        return DiagnosticStatus.OK, "answering"

    def values(self, metrics: MetricsMsg, model: str, left_out: str, hangs: int, now: float) -> Mapping[str, str]:
        """The same for people. hangs: of late, after which the process replaced itself. now: steady clock, seconds."""
        return {
            "model": model,
            "answers [Hz]": f"{metrics.answer_rate:.1f}",
            "inference p50 [ms]": f"{metrics.inference_p50 * 1e3:.0f}",
            "inference p95 [ms]": f"{metrics.inference_p95 * 1e3:.0f}",
            "overhead p95 [ms]": f"{metrics.overhead_p95 * 1e3:.1f}",
            "frames seen": str(metrics.frames_seen),
            "frames answered": str(metrics.frames_answered),
            "frames dropped": str(metrics.frames_dropped),
            "frames bad": str(metrics.frames_bad),
            "left out": left_out or "nothing",
            "hangs": str(hangs),
            "cloud": _cloud(self.last_context, now),
            "context age [s]": "none in use" if math.isnan(self.context_age) else f"{self.context_age:.1f}",
            "contexts applied": str(metrics.contexts_applied),
            "contexts ignored": str(metrics.contexts_ignored),
            "contexts suspended": str(metrics.contexts_suspended),
            "regions dropped": str(metrics.regions_dropped),
            "asked": str(metrics.asked),
            "asks refused": str(metrics.asks_refused),
        }


def several_bridges(topic: str, nodes: Sequence[str]) -> Health | None:
    """What to do where more than one publishes contexts. nodes: that publish them, one for each publisher."""
    if len(nodes) < 2:
        return None
    return DiagnosticStatus.WARN, (
        f"{len(nodes)} publish {topic} ({', '.join(sorted(set(nodes)))}): with two cloud bridges each keyframe is sent "
        "and paid for twice; stop one, or start it in a namespace of its own"
    )


def _cloud(last: tuple[float, int] | None, now: float) -> str:
    """The state of the cloud by the last context that came: seconds on the steady clock, and its status."""
    if last is None:
        return "nothing has come from it"
    known = {int(status): status.name for status in Status}
    return f"{known.get(last[1], f'status {last[1]}')} {now - last[0]:.1f} s ago"

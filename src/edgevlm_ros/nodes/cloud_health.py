# SPDX-License-Identifier: Apache-2.0
"""How the way to the cloud does, in numbers, and in words that say what to do.

A robot goes on without its cloud, so nothing but this tells why no context comes: the server is away, does not like the
key, is slower than the time-out, or says what nobody understands.
"""

from collections import Counter, deque

from diagnostic_msgs.msg import DiagnosticStatus

from edgevlm_msgs.msg import Metrics as MetricsMsg
from edgevlm_ros.cloud.client import CloudResult
from edgevlm_ros.cloud.selection import Reason
from edgevlm_ros.cloud.uplink import Exchange
from edgevlm_ros.endpoint import is_loopback
from edgevlm_ros.nodes.camera import percentile
from edgevlm_ros.nodes.camera_health import Health
from edgevlm_ros.transfer.types import Status

_STATES = {
    Status.UNREACHABLE: "the cloud is not reachable",
    Status.TIMEOUT: "the cloud is too slow",
    Status.REJECTED: "the cloud refuses",
    Status.UNPARSABLE: "the cloud says what is not understood",
    Status.DROPPED: "a keyframe got no reply",
}


class CloudTally:
    """What the bridge has sent and got since it was activated; see Metrics.msg."""

    def __init__(self) -> None:
        self.requests = self.asked_once = self.bytes_up = self.regions_dropped = self.failures_in_a_row = 0
        self.reasons: Counter[Reason] = Counter()  # of the keyframes that the schedule sent
        self.replies: Counter[Status] = Counter()
        self.delays: deque[float] = deque(maxlen=100)
        self.failure: CloudResult | None = None
        self.told: set[Status] = set()  # failures that the log has since the last answer
        self.last_answer: float | None = None

    def count(self, exchange: Exchange, now: float) -> None:
        """A keyframe came back. now: seconds on the steady clock."""
        result = exchange.result
        self.replies[result.status] += 1
        self.bytes_up += result.bytes_up
        self.regions_dropped += result.regions_dropped
        if result.status is Status.OK:
            self.delays.append(exchange.delay)
            self.last_answer, self.failures_in_a_row = now, 0
            self.told.clear()
            return
        # a keyframe that was not even sent tells nothing new of a server that fails
        if result.status is not Status.DROPPED or not self.failures_in_a_row:
            self.failure = result
        self.failures_in_a_row += 1

    def metrics(self, in_flight: int) -> MetricsMsg:
        return MetricsMsg(
            requests=self.requests,
            replies_ok=self.replies[Status.OK],
            replies_failed=sum(self.replies.values()) - self.replies[Status.OK],
            bytes_up=self.bytes_up,
            in_flight=in_flight,
            delay_p50=percentile(self.delays, 0.5),
            delay_p95=percentile(self.delays, 0.95),
        )

    def values(self) -> dict[str, str]:
        """For diagnostics."""
        return {
            "requests": str(self.requests),
            "requests of 'ask'": str(self.asked_once),
            **{f"keyframes by {reason.value}": str(self.reasons[reason]) for reason in Reason},
            **{f"replies {status.name}": str(self.replies[status]) for status in Status},
            "regions dropped": str(self.regions_dropped),
            "bytes up": str(self.bytes_up),
            "delay p50 [s]": f"{percentile(self.delays, 0.5):.2f}",
            "delay p95 [s]": f"{percentile(self.delays, 0.95):.2f}",
            "last error": self.failure.error if self.failure else "",
        }

    def health(self, now: float, host: str, key_from: str) -> Health:
        """The state of the cloud in a line. now: seconds on the steady clock. host, key_from: see advice."""
        if self.failure is not None and self.failures_in_a_row:
            state = f"{_STATES[self.failure.status]}, {self.failures_in_a_row} failed in a row"
            hint = advice(self.failure, host, key_from)
            return DiagnosticStatus.WARN, f"{state}: {self.failure.error}{f'; {hint}' if hint else ''}"
        if self.last_answer is not None:
            return DiagnosticStatus.OK, f"the cloud answered {now - self.last_answer:.1f} s ago"
        waits = "its first reply is awaited" if self.requests else "nothing was sent yet"
        return DiagnosticStatus.OK, f"no reply of the cloud yet: {waits}"


def advice(failure: CloudResult, host: str, key_from: str) -> str:
    """What to do beyond what the error itself says; empty if there is nothing.

    host: of the server. key_from: which parameter names the key that was sent, and what it is set to; empty if none.
    """
    if failure.status is Status.UNREACHABLE and is_loopback(host):
        return "`edgevlm serve` starts the bundled server, and use_cloud:=false launches without a cloud"
    if failure.status is Status.REJECTED and failure.error.startswith(("HTTP 401", "HTTP 403")):
        if key_from:
            return f"the key that was sent is that of {key_from}"
        return "no key was sent: put it into an environment variable and set api_key_env to the variable's name"
    return ""

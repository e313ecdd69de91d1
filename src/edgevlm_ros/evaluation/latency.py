# SPDX-License-Identifier: Apache-2.0
"""When the cloud's answer comes, as a pure function of when it was asked for.

Every policy must meet the same network, whatever it sends and when. Chance is therefore not drawn in turn but looked up
by the seed and the time, in slots of half a second: who asks within the same slot is treated alike.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from edgevlm_ros.cloud.delay import EmulatedDelay
from edgevlm_ros.evaluation.traces import PACKET_BYTES, Trace, TraceError, bundled_traces, load_trace

SLOT_S = 0.5
RETRY_S = 0.2  # at least, until TCP sends a lost packet again: TCP_RTO_MIN of Linux

_NEVER_S = 24 * 3600.0  # what takes longer to send is not sent


class LatencyError(ValueError):
    """A delay model that cannot be; the message says what is wrong with it."""


class Latency(Protocol):
    """Seconds are those of the stream, 0 at its first frame."""

    def arrival(self, sent: float, bytes_up: int, bytes_down: int, compute: float) -> float | None:
        """When the answer to a request that left at `sent` is there; None if it is lost.

        compute: seconds that the cloud works on it, for models that do not have it in them.
        """


@dataclass(frozen=True, slots=True)
class Fixed:
    """Network and cloud together take so many seconds, whatever is sent."""

    seconds: float

    def __post_init__(self) -> None:
        _check("a fixed delay", self.seconds)

    def arrival(self, sent: float, bytes_up: int, bytes_down: int, compute: float) -> float | None:
        return sent + self.seconds


@dataclass(frozen=True, slots=True)
class Dead:
    """No cloud at all."""

    def arrival(self, sent: float, bytes_up: int, bytes_down: int, compute: float) -> float | None:
        return None


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Network and cloud together, log-normal, with outages: the emulated delay of the bridge in virtual time.

    median: seconds. sigma: of the delay's logarithm. outage: seconds at the end of every outage_every seconds in which
    nothing is sent and no reply arrives; none if either is 0.
    """

    median: float = 2.5
    sigma: float = 0.6
    outage_every: float = 45.0
    outage: float = 6.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("median", "sigma", "outage_every", "outage"):
            _check(f"{name} of a log-normal delay", getattr(self, name))

    def arrival(self, sent: float, bytes_up: int, bytes_down: int, compute: float) -> float | None:
        emulated = EmulatedDelay("lognormal", self.median, self.sigma, self.outage_every, self.outage, self.seed)
        arrives = sent + emulated.seconds_for(slot(sent))
        return None if emulated.is_out(sent) or emulated.is_out(arrives) else arrives


class TraceLatency:
    """A recorded network, run through from a place that the seed chooses, again and again.

    What is sent takes the rate of the trace from then on, half a round trip, and another round trip (but RETRY_S at
    least) for each time that packets were lost and had to be sent again. The reply goes the same way back, at the rate
    of the uplink: traces seldom have another. Requests do not slow each other down. What is sent while all is lost is
    lost. How long the bridge waits for the rest is its own (timeline.Timeline.call).
    """

    def __init__(self, trace: Trace, seed: int = 0) -> None:
        self._trace, self._seed = trace, seed
        self._offset = random.Random(f"{seed}/{trace.name}").random() * trace.period
        self._times = [sample.time for sample in trace.samples]
        self._rates = [sample.up_kbps * 125.0 for sample in trace.samples]  # bytes per second
        ends = [*self._times[1:], trace.period]
        each = (rate * (end - time) for rate, time, end in zip(self._rates, self._times, ends, strict=True))
        self._passed = [0.0, *accumulate(each)]  # bytes from the trace's beginning to each sample, and to its end

    def arrival(self, sent: float, bytes_up: int, bytes_down: int, compute: float) -> float | None:
        there = self._through(sent, bytes_up, "up")
        return None if there is None else self._through(there + compute, bytes_down, "down")

    def _through(self, sent: float, size: int, way: str) -> float | None:
        """When the last byte is on the other side."""
        sample = self._trace.samples[self._index((sent + self._offset) % self._trace.period)]
        chance = random.Random(f"{self._seed}/{way}/{slot(sent)}").random()
        rounds = _rounds(chance, sample.loss, max(1, math.ceil(size / PACKET_BYTES)))
        done = self._sent(sent, size)
        if rounds is None or done is None:
            return None
        rtt = sample.rtt_ms / 1000.0
        return done + rtt / 2 + (rounds - 1) * max(rtt, RETRY_S)

    def _sent(self, begin: float, size: int) -> float | None:
        """When so many bytes have left, if they begin then."""
        total, period = self._passed[-1], self._trace.period
        if size <= 0:
            return begin
        if size > total * (_NEVER_S / period + 1.0):
            return None
        lap, time = divmod(begin + self._offset, period)
        index = self._index(time)
        want = self._passed[index] + (time - self._times[index]) * self._rates[index] + size
        more, rest = divmod(want, total)
        if rest == 0.0:
            more, rest = more - 1, total
        index = bisect_left(self._passed, rest) - 1
        time = self._times[index] + (rest - self._passed[index]) / self._rates[index]
        return max(begin, (lap + more) * period + time - self._offset)

    def _index(self, time: float) -> int:
        return bisect_right(self._times, time) - 1


def latency(name: str, seed: int = 0) -> Latency:
    """The model of a name as on the command line: "3" for seconds, lognormal, dead, trace:NAME or trace:FILE.

    Raises LatencyError.
    """
    if name == "lognormal":
        return LogNormal(seed=seed)
    if name == "dead":
        return Dead()
    if name.startswith("trace:"):
        try:
            return TraceLatency(load_trace(name.removeprefix("trace:")), seed)
        except TraceError as error:
            raise LatencyError(f"delay {name!r}: {error}") from error
    try:
        seconds = float(name)
    except ValueError:
        traces = ", ".join(f"trace:{trace}" for trace in bundled_traces())
        raise LatencyError(
            f"delay {name!r} is unknown; expected seconds such as 3, lognormal, dead, {traces}, or trace:FILE"
        ) from None
    return Fixed(seconds)


def _rounds(chance: float, loss: float, packets: int) -> int | None:
    """How often some of the packets must be sent until none is lost; None if all are lost for ever.

    (1 - loss**r)**packets is the probability that r rounds are enough; this is the smallest r for which it is more than
    chance, 0 <= chance < 1.
    """
    if loss <= 0.0:
        return 1
    if loss >= 1.0:
        return None
    missing = -math.expm1(math.log(chance) / packets) if chance > 0.0 else 1.0
    return max(1, math.ceil(math.log(missing) / math.log(loss)))


def slot(sent: float) -> int:
    """Number of the half second in which a request leaves."""
    return math.floor(sent / SLOT_S)


def _check(what: str, seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds >= 0.0):
        raise LatencyError(f"{what} is {seconds:g}: expected a number of seconds, 0 or more")

# SPDX-License-Identifier: Apache-2.0
"""When the cloud's answer comes, as a pure function of when it was asked for.

Every policy must meet the same network, whatever it sends and when. Chance is therefore not drawn in turn but looked up
by the seed and the time, in slots of half a second: who asks within the same slot is treated alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from edgevlm_ros.cloud.delay import EmulatedDelay

SLOT_S = 0.5


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


def slot(sent: float) -> int:
    """Number of the half second in which a request leaves."""
    return math.floor(sent / SLOT_S)


def _check(what: str, seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds >= 0.0):
        raise LatencyError(f"{what} is {seconds:g}: expected a number of seconds, 0 or more")

# SPDX-License-Identifier: Apache-2.0
"""A far and unreliable cloud, emulated on a desk: replies are held back, or lost.

The server beside the robot answers in a fraction of a second. What the method is for are seconds, and now and then
nothing at all, so a demo adds them after the real reply. Off by default.
"""

import math
import random
from dataclasses import dataclass
from typing import Literal, get_args

DelayKind = Literal["none", "fixed", "lognormal"]
DELAY_KINDS: tuple[str, ...] = get_args(DelayKind)


@dataclass(frozen=True, slots=True)
class EmulatedDelay:
    """Delays and outages as functions of a seed, a request's number and the time: the same run loses the same replies.

    seconds: added to each reply; of a log-normal delay the median, whose logarithm has standard deviation sigma.
    outage: seconds, at the end of each outage_period, in which nothing gets through; none if either is 0.
    """

    kind: DelayKind = "none"
    seconds: float = 0.0
    sigma: float = 0.5
    outage_period: float = 0.0
    outage: float = 0.0
    seed: int = 0

    def seconds_for(self, request: int) -> float:
        """Seconds by which the reply to the request with this number is held back."""
        if self.kind == "none" or self.seconds <= 0.0:
            return 0.0
        if self.kind == "fixed":
            return self.seconds
        return random.Random(f"{self.seed}/{request}").lognormvariate(math.log(self.seconds), self.sigma)

    def is_out(self, now: float) -> bool:
        """Whether there is an outage now. now: seconds since the bridge was activated."""
        if self.kind == "none" or self.outage_period <= 0.0 or self.outage <= 0.0:
            return False
        return now % self.outage_period >= self.outage_period - self.outage

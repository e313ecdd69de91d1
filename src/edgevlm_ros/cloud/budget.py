# SPDX-License-Identifier: Apache-2.0
"""What the cloud may cost: calls and bytes per minute, money per hour.

A budget is no wall that is hit in the middle of an hour: each request takes the time in which the budget grows by its
cost, so that a tight one makes keyframes rarer and never ends them. Ours, since rate limiters (aiolimiter,
pyrate-limiter) want the cost before the call, and of a reply's tokens it is known after it.
"""

from dataclasses import dataclass
from typing import NamedTuple

from edgevlm_ros.cloud.client import CloudResult
from edgevlm_ros.transfer.types import Status

_RESERVE = 0.1
"""Share of each budget that keyframes leave to what a person waits for: a new question, a question about this frame."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets, each 0 for none. Prices: per million tokens, in the currency of money_per_hour.

    bytes_per_minute: bodies of requests.
    """

    calls_per_minute: float = 0.0
    bytes_per_minute: float = 0.0
    money_per_hour: float = 0.0
    prompt_price: float = 0.0
    completion_price: float = 0.0


class Cost(NamedTuple):
    """Of one request, or what is expected of one: one number for each budget."""

    calls: float = 0.0
    bytes: float = 0.0
    money: float = 0.0


class _Meter:
    """A token bucket, kept as the time at which what was spent has grown back (GCRA, ITU-T I.371).

    Within any window of that many seconds no more than amount is spent, but for what a cost turned out higher than
    expected, which the next request waits for.
    """

    def __init__(self, kind: int, name: str, amount: float, window: float) -> None:
        self.kind = kind
        self.words = f"{name} = {amount:g}"
        self._rate = amount / (window * (1.0 + _RESERVE))
        self._reserve = window * _RESERVE
        self._free_at = float("-inf")

    def pace(self, cost: Cost) -> float:
        """Seconds in which the budget grows by this cost."""
        return cost[self.kind] / self._rate

    def spend(self, cost: Cost, now: float) -> None:
        self._free_at = max(self._free_at, now) + self.pace(cost)

    def correct(self, expected: Cost, cost: Cost) -> None:
        self._free_at += self.pace(cost) - self.pace(expected)

    def wait(self, now: float, urgent: bool) -> float:
        """Seconds until the next request may go."""
        return max(0.0, self._free_at - now - (self._reserve if urgent else 0.0))


class Budget:
    """Budgets on a clock that is handed in (now: seconds on the steady clock). Not for several threads."""

    def __init__(self, limits: Limits) -> None:
        if limits.money_per_hour > 0.0 and not (limits.prompt_price > 0.0 or limits.completion_price > 0.0):
            raise ValueError(
                "budget.money_per_hour needs price.prompt and price.completion: what a million tokens cost"
            )
        self._limits = limits
        meters = (
            (0, "calls_per_minute", limits.calls_per_minute, 60.0),
            (1, "bytes_per_minute", limits.bytes_per_minute, 60.0),
            (2, "money_per_hour", limits.money_per_hour, 3600.0),
        )
        self._meters = [_Meter(*meter) for meter in meters if meter[2] > 0.0]
        self._expected = Cost(calls=1.0)
        self._uncounted = False

    def refuses(self, now: float, urgent: bool = False) -> str:
        """Why nothing may be sent now, for people; empty if a keyframe may go.

        urgent: a person waits for it, so the reserve may be taken.
        """
        waits = [(meter.wait(now, urgent), meter) for meter in self._meters]
        wait, meter = max(waits, key=lambda pair: pair[0], default=(0.0, None))
        return f"{meter.words} is spent for {wait:.1f} s" if meter is not None and wait > 0.0 else ""

    def sent(self, now: float) -> Cost:
        """A request leaves, and is expected to cost what the last one did. Returns that for ended()."""
        for meter in self._meters:
            meter.spend(self._expected, now)
        return self._expected

    def ended(self, expected: Cost, result: CloudResult) -> None:
        """A request came back and has told what it cost."""
        cost = self._cost(expected, result)
        for meter in self._meters:
            meter.correct(expected, cost)
        if cost.calls:
            self._expected = Cost(1.0, cost.bytes, cost.money if result.prompt_tokens else self._expected.money)
        if result.status is Status.OK:
            self._uncounted = not result.prompt_tokens

    def words(self, period: float) -> str:
        """What the budgets do to keyframes that are wanted every period seconds; empty if nothing."""
        if self._uncounted and self._limits.money_per_hour > 0.0:
            return "money_per_hour cannot be kept: the server counts no tokens"
        paces = [(meter.pace(self._expected), meter) for meter in self._meters]
        pace, meter = max(paces, key=lambda pair: pair[0], default=(0.0, None))
        if meter is None or pace <= period:
            return ""
        return f"keyframes every {pace:.3g} s instead of every {period:.3g} s: {meter.words}"

    def _cost(self, expected: Cost, result: CloudResult) -> Cost:
        if not result.bytes_up:
            return Cost()
        counted = result.prompt_tokens or result.completion_tokens
        money = (
            result.prompt_tokens * self._limits.prompt_price + result.completion_tokens * self._limits.completion_price
        ) / 1e6
        if (
            not counted and result.status is not Status.REJECTED
        ):  # cut off or not counted: taken to cost as much as others
            money = expected.money
        return Cost(1.0, float(result.bytes_up), money)

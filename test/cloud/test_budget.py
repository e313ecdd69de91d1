# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cloud.budget import Budget, Limits
from edgevlm_ros.cloud.client import CloudResult
from edgevlm_ros.transfer.types import Status

PRICED = Limits(money_per_hour=0.6, prompt_price=0.15, completion_price=0.60)


def result(status: Status = Status.OK, size: int = 1000, prompt: int = 0, completion: int = 0) -> CloudResult:
    return CloudResult(status, bytes_up=size, prompt_tokens=prompt, completion_tokens=completion)


def sent_times(budget: Budget, answer: CloudResult, *, period: float, seconds: float, urgent: bool = False) -> list:
    """When keyframes leave that are wanted every period seconds, and answered at once."""
    times, wanted, now = [], 0.0, 0.0
    while now < seconds:
        if now >= wanted and not budget.refuses(now, urgent):
            budget.ended(budget.sent(now), answer)
            times.append(now)
            wanted = now + period
        now += 0.05
    return times


def gaps(times: list) -> list:
    return [after - before for before, after in pairwise(times)]


def test_without_limits_nothing_is_refused() -> None:
    times = sent_times(Budget(Limits()), result(), period=0.1, seconds=30.0)
    assert len(times) > 250
    assert Budget(Limits()).words(0.1) == ""


@pytest.mark.parametrize(
    ("limits", "answer", "pace", "words"),
    [
        (Limits(calls_per_minute=10), result(), 6.6, "calls_per_minute = 10"),
        (Limits(bytes_per_minute=600_000), result(size=50_000), 5.5, "bytes_per_minute = 600000"),
        (PRICED, result(prompt=4000, completion=1000), 7.92, "money_per_hour = 0.6"),
    ],
    ids=["calls", "bytes", "money"],
)
def test_a_tight_budget_makes_keyframes_rarer_evenly_and_says_so(
    limits: Limits, answer: CloudResult, pace: float, words: str
) -> None:
    budget = Budget(limits)
    times = sent_times(budget, answer, period=2.0, seconds=300.0)
    assert gaps(times)[1:] == pytest.approx([pace] * (len(times) - 2), abs=0.06)
    assert budget.words(2.0) == f"keyframes every {pace:.3g} s instead of every 2 s: {words}"
    assert budget.refuses(times[-1]).startswith(f"{words} is spent for ")


def test_a_budget_that_is_wide_enough_changes_nothing() -> None:
    budget = Budget(Limits(calls_per_minute=40, bytes_per_minute=100_000))
    assert gaps(sent_times(budget, result(), period=2.0, seconds=60.0)) == pytest.approx([2.0] * 29, abs=0.06)
    assert budget.words(2.0) == ""


def test_a_person_who_waits_has_a_tenth_of_the_budget_that_keyframes_leave() -> None:
    budget = Budget(Limits(calls_per_minute=40))
    budget.ended(budget.sent(0.0), result())
    assert budget.refuses(0.0)
    urgent = 0
    while not budget.refuses(0.0, urgent=True):
        budget.ended(budget.sent(0.0), result())
        urgent += 1
    assert urgent == 3
    assert budget.refuses(6.5), "keyframes make up for it"
    assert budget.refuses(6.7) == ""


def test_what_was_not_sent_costs_nothing() -> None:
    budget = Budget(Limits(calls_per_minute=1, bytes_per_minute=1000))
    for status in (Status.UNREACHABLE, Status.DROPPED):
        budget.ended(budget.sent(0.0), result(status, size=0))
        assert budget.refuses(0.0) == ""


def test_a_reply_that_was_lost_costs_what_the_others_do() -> None:
    budget = Budget(PRICED)
    budget.ended(budget.sent(0.0), result(prompt=4000, completion=1000))
    budget.ended(budget.sent(10.0), result(Status.TIMEOUT))
    assert budget.refuses(17.8)
    assert budget.refuses(18.0) == ""


def test_a_request_that_was_rejected_costs_no_money() -> None:
    budget = Budget(PRICED)
    budget.ended(budget.sent(0.0), result(prompt=4000, completion=1000))
    budget.ended(budget.sent(10.0), result(Status.REJECTED))
    assert budget.refuses(10.0) == ""


def test_an_answer_without_counted_tokens_is_told_where_money_is_limited() -> None:
    budget = Budget(PRICED)
    budget.ended(budget.sent(0.0), result())
    assert budget.words(2.0) == "money_per_hour cannot be kept: the server counts no tokens"
    budget.ended(budget.sent(1.0), result(prompt=100))
    assert budget.words(2.0) == ""


def test_money_without_a_price_is_no_budget() -> None:
    with pytest.raises(ValueError, match="needs price"):
        Budget(Limits(money_per_hour=1.0))


@given(
    limit=st.integers(1, 50),
    frames=st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans()), min_size=1, max_size=200),
)
def test_no_minute_sees_more_calls_than_its_budget(limit: int, frames: list[tuple[float, bool]]) -> None:
    budget, now, times = Budget(Limits(calls_per_minute=limit)), 0.0, []
    for wait, urgent in frames:
        now += wait
        while not budget.refuses(now, urgent):
            budget.sent(now)
            times.append(now)
    for start in times:
        assert sum(start <= time < start + 59.999 for time in times) <= limit


@given(
    sizes=st.lists(st.integers(1, 5_000), min_size=1, max_size=100),
    delays=st.lists(st.floats(0.0, 4.0), min_size=100, max_size=100),
)
def test_no_minute_sees_more_bytes_than_its_budget_but_for_those_under_way(
    sizes: list[int], delays: list[float]
) -> None:
    budget, now, spent = Budget(Limits(bytes_per_minute=20_000)), 0.0, []
    for size, delay in zip(sizes, delays, strict=False):
        while budget.refuses(now):
            now += 0.1
        cost = budget.sent(now)
        spent.append((now, size))
        now += delay
        budget.ended(cost, result(size=size))
    for start, _ in spent:
        assert sum(size for time, size in spent if start <= time < start + 60.0) <= 20_000 + max(sizes)

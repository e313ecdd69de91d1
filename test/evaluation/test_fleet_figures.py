# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import random

import pytest

from edgevlm_ros.evaluation.fleet import Fleet, Request, Run
from edgevlm_ros.evaluation.fleet_figures import capacity, figures, markdown, rate_of, server, wait
from edgevlm_ros.evaluation.fleet_plot import draw_fleet
from edgevlm_ros.transfer.types import Status


def requests(*delays: float, every: float = 1.0, status: Status = Status.OK) -> tuple[Request, ...]:
    return tuple(Request(0, at * every, delay, status, "") for at, delay in enumerate(delays))


def queue(load: float, service: float, count: int) -> float:
    """Mean wait of a simulated server that takes one request at a time, asked at random."""
    chance = random.Random(0)
    now = free = waited = 0.0
    for _ in range(count):
        now += chance.expovariate(load / service)
        free = max(free, now)
        waited += free - now
        free += service
    return waited / count


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_the_wait_is_that_of_a_simulated_queue(load: float) -> None:
    assert wait(load, 0.4) == pytest.approx(queue(load, 0.4, 200_000), rel=0.06)


def test_a_server_that_cannot_keep_up_makes_wait_without_end() -> None:
    assert wait(1.0, 0.4) == math.inf
    assert wait(3.0, 0.4) == math.inf


def test_the_rate_is_that_of_replies_from_the_first_to_the_last() -> None:
    assert rate_of(requests(0.1, 0.1, 0.1, every=0.5)) == pytest.approx(2.0)
    assert rate_of(requests(0.25)) == pytest.approx(4.0)


def test_what_a_server_can_do_is_the_best_of_one_after_the_other_and_many_at_once() -> None:
    alone, busy = requests(0.5, 0.5, every=0.5), requests(1.0, 1.0, 1.0, every=0.25)
    assert server(alone, busy, 4).rate == pytest.approx(4.0)
    assert server(alone, busy, 4).alone == pytest.approx(0.5)
    assert server(alone, requests(1.0, 1.0, every=1.0), 4).rate == pytest.approx(2.0)


def test_a_server_that_answers_nothing_is_an_error_with_its_reason() -> None:
    failed = (Request(0, 0.0, 0.1, Status.UNREACHABLE, "nobody listens"),)
    with pytest.raises(ValueError, match="nobody listens"):
        server(failed, failed, 2)


def test_capacity_keeps_the_load_below_what_is_allowed() -> None:
    assert capacity(rate=2.0, period=2.0, utilisation=0.7) == 2
    assert capacity(rate=10.0, period=2.0, utilisation=0.7) == 14
    assert capacity(rate=0.1, period=2.0) == 0


def test_figures_leave_the_beginning_out_and_name_failures() -> None:
    served = server(requests(0.5, 0.5, every=0.5), requests(0.5, 0.5, every=0.5), 2)
    answers = requests(9.0, 9.0, *[0.6] * 8, 1.0, every=1.0)
    failed = tuple(Request(1, 5.0 + at, 0.0, Status.TIMEOUT, "late") for at in range(2))
    row = figures(Run(Fleet(2, 2.0, 10.0), (*answers, *failed), late=3), served)
    assert (row.sent, row.late, row.failures) == (11, 3, {"TIMEOUT": 2})
    assert row.load == pytest.approx(0.5)
    assert row.delays[50] == pytest.approx(0.6)
    assert row.predicted == pytest.approx(0.5 + 0.25)


def test_the_report_has_a_row_for_each_fleet_and_a_picture(tmp_path) -> None:
    served = server(requests(0.5, 0.5, every=0.5), requests(0.5, 0.5, every=0.5), 2)
    rows = [figures(Run(Fleet(robots, 2.0, 4.0), requests(0.5, 0.6, 0.7, 0.8), 0), served) for robots in (1, 2, 8)]
    rows.append(figures(Run(Fleet(16, 2.0, 4.0), requests(0.5, status=Status.TIMEOUT), 0), served))
    table = markdown(served, 2.0, rows)
    assert "| 8 | 2.00 |" in table
    assert "no end" in table
    draw_fleet(served, 2.0, rows, tmp_path / "fleet.png")
    assert (tmp_path / "fleet.png").read_bytes().startswith(b"\x89PNG")

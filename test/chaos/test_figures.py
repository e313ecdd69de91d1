# SPDX-License-Identifier: Apache-2.0
"""Figures of a run that can be counted by hand, and its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chaos.figures import Request, Window, markdown, pace, recovery, rows, silent, slow, twice, wrong
from chaos.plot import draw_chaos
from chaos.schedule import Entry

NEVER = {"silent": 0, "twice": 0, "tracebacks": 0, "contexts_unrecorded": 0}


def window(fault: str, begin: float, end: float, **settings: float) -> Window:
    return Window(Entry(fault, begin, end - begin, settings, settings), begin, end)


def context(number: int, at: float, status: str = "ok", life: int = 1, took: float = 0.2) -> Request:
    return Request(at, at - took, number, life, status, "" if status == "ok" else f"it {status}", number)


WINDOWS = [window("refused", 10, 20), window("camera_gone", 30, 40), window("status", 50, 60, code=429, retry_after=2)]
ANSWERS = [at / 10 for at in range(700) if not (300 <= at < 400 or (100 <= at < 200 and at % 4 == 0))]
REQUESTS = [
    *(context(number, at) for number, at in enumerate([2.0, 9.0, 24.0, 25.0, 42.0], 1)),
    context(6, 51.0, "rejected"),
    context(7, 59.0, "rejected"),
    context(8, 69.0),
]


def found() -> list[dict[str, Any]]:
    memory = [(11.0, "edge_node", 10**9), (12.0, "edge_node", 2 * 10**9), (12.0, "cloud_bridge_node", 10**8)]
    return rows(WINDOWS, ANSWERS, REQUESTS, memory, 70.0, 3.0)


def test_the_pace_is_that_of_the_fault_over_that_of_the_quiet_around_it() -> None:
    assert pace(WINDOWS, ANSWERS, 70.0) == [pytest.approx(0.75), None, pytest.approx(1.0)]


def test_the_aftermath_of_a_camera_fault_is_no_quiet() -> None:
    windows = [window("damaged_frames", 10, 10), window("refused", 20, 30)]
    answers = [at / 10 for at in range(400) if not 100 <= at < 150]
    assert pace(windows, answers, 40.0) == [None, pytest.approx(1.0)]


def test_the_way_back_ends_with_the_first_answer() -> None:
    assert recovery(WINDOWS[0], REQUESTS, 70.0) == pytest.approx(4.0)
    assert recovery(WINDOWS[2], REQUESTS, 68.0) is None


def test_a_request_without_a_context_is_silent_in_its_life_only() -> None:
    heard = [context(1, 1.0), context(2, 2.0), context(4, 3.0), context(1, 9.0, life=2), context(2, 10.0, life=2)]
    assert silent(heard) == 1
    assert (silent([]), twice(heard)) == (0, 0)
    assert twice([*heard, context(4, 11.0)]) == 1


def test_each_fault_has_its_row() -> None:
    refused, gone, status = found()
    assert refused["edge_rate_ratio"] == 0.75
    assert refused["rss_mb"] == 2100.0
    assert gone["edge_rate_ratio"] is None
    assert (status["requests"], status["outcomes"]) == (2, {"rejected": 2})
    assert (status["recovery_s"], status["recovery_limit_s"]) == (9.0, 8.0)
    assert status["said"] == "it rejected"


def test_what_is_slow_is_told_and_what_is_wrong_is_judged() -> None:
    assert [said.split(":")[0] for said in slow(found())] == ["refused", "status code=429 retry_after=2"]
    assert wrong(found(), NEVER) == []
    assert wrong(found(), {**NEVER, "silent": 2}) == ["2 requests ended without a context"]
    never = rows(WINDOWS, ANSWERS, REQUESTS[:-1], [], 70.0, 3.0)
    assert wrong(never, NEVER) == ["status code=429 retry_after=2: the cloud never answered again"]


def test_the_table_tells_what_could_not_be_tried() -> None:
    table = markdown([*found(), {"fault": "netem_loss", "place": "kernel", "skipped": "netem: not available"}])
    assert "| refused | network | 75 % | 4.0 s |" in table
    assert "| netem_loss | kernel | | | | netem: not available | |" in table


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw_chaos(WINDOWS, ANSWERS, REQUESTS, 70.0, tmp_path / "chaos.png")
    assert Image.open(tmp_path / "chaos.png").size[0] > 1000

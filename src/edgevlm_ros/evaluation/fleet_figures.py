# SPDX-License-Identifier: Apache-2.0
"""How many robots a server bears: figures of fleet runs, and what queueing theory says of the same.

Robots that send a keyframe every `period` seconds are a load of N / period requests a second. A server that answers
`rate` requests a second is used to the share rho = N / (period * rate), and bears as many robots as keep rho below what
one allows: N = utilisation * period * rate. How long requests wait below that is told by the M/D/1 queue: arrivals at
random, one at a time, each taking the same time (Kleinrock, Queueing Systems I, 5.8: mean wait rho / (2 (1 - rho)) of
a service time).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevlm_ros.evaluation.fleet import Request, Run
from edgevlm_ros.transfer.types import Status

UTILISATION = 0.7
"""Of a server, at which requests wait 1.2 service times in the mean; beyond it waits grow fast."""
_WARM_UP = 0.15  # of a run, at its beginning, that no figure is about
_PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Server:
    """What a server can do. alone: mean seconds of a request that nothing stands before. rate: requests a second, at
    most. in_flight: at which that was measured."""

    alone: float
    rate: float
    in_flight: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one fleet. delays: seconds by percentile, of answered requests. predicted: the mean that M/D/1 gives, infinite
    if the server cannot keep up. load: rho. failures: by status."""

    robots: int
    load: float
    sent: int
    answered_per_second: float
    mean: float
    predicted: float
    delays: dict[int, float]
    late: int
    failures: dict[str, int]


def server(alone: Sequence[Request], busy: Sequence[Request], in_flight: int) -> Server:
    """From requests one after the other, and from requests with always in_flight of them under way.

    Raises ValueError if none was answered.
    """
    single, many = answered(alone), answered(busy)
    if not single or not many:
        errors = Counter(request.error for request in (*alone, *busy) if request.error)
        raise ValueError(f"the server answers nothing: {next(iter(errors), 'no request was sent')}")
    rates = [rate_of(single), rate_of(many)]
    return Server(float(np.mean([request.delay for request in single])), max(rates), in_flight)


def rate_of(requests: Sequence[Request]) -> float:
    """Replies a second, from the first one on: what is under way at the beginning and at the end is the same."""
    ends = sorted(request.sent + request.delay for request in requests)
    if len(ends) < 2 or ends[-1] <= ends[0]:
        return 1.0 / max(requests[0].delay, 1e-9)
    return (len(ends) - 1) / (ends[-1] - ends[0])


def figures(run: Run, served: Server) -> Figures:
    """Of a run, but for its beginning."""
    fleet = run.fleet
    counted = [request for request in run.requests if request.sent >= _WARM_UP * fleet.seconds]
    good = answered(counted)
    delays = np.array([request.delay for request in good]) if good else np.array([math.nan])
    failures = Counter(request.status.name for request in counted if request.status is not Status.OK)
    load = fleet.robots / (fleet.period * served.rate)
    return Figures(
        robots=fleet.robots,
        load=load,
        sent=len(counted),
        answered_per_second=rate_of(good) if len(good) > 1 else len(good) / fleet.seconds,
        mean=float(delays.mean()),
        predicted=served.alone + wait(load, 1.0 / served.rate),
        delays={percent: float(np.percentile(delays, percent)) for percent in _PERCENTILES},
        late=run.late,
        failures=dict(failures),
    )


def wait(load: float, service: float) -> float:
    """Mean seconds in an M/D/1 queue before the service of this many seconds begins; infinite from load 1 on."""
    return service * load / (2.0 * (1.0 - load)) if load < 1.0 else math.inf


def capacity(rate: float, period: float, utilisation: float = UTILISATION) -> int:
    """Robots that a server of this rate bears, each with a keyframe every period seconds."""
    return math.floor(utilisation * period * rate + 1e-9)


def answered(requests: Sequence[Request]) -> list[Request]:
    return [request for request in requests if request.status is Status.OK]


def markdown(served: Server, period: float, rows: Sequence[Figures]) -> str:
    """The tables of a report."""
    bears = capacity(served.rate, period)
    head = (
        f"A request alone takes {served.alone:.2f} s; with {served.in_flight} under way the server answers "
        f"{served.rate:.2f} a second. At {UTILISATION:.0%} of that it bears {bears} robots with a keyframe every "
        f"{period:g} s."
    )
    lines = [
        "| robots | load | sent | answered/s | mean s | M/D/1 s | p50 | p90 | p95 | p99 | late | failed |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        delays = " | ".join(f"{row.delays[percent]:.2f}" for percent in _PERCENTILES)
        predicted = f"{row.predicted:.2f}" if math.isfinite(row.predicted) else "no end"
        failed = ", ".join(f"{count} {name}" for name, count in sorted(row.failures.items())) or "0"
        lines.append(
            f"| {row.robots} | {row.load:.2f} | {row.sent} | {row.answered_per_second:.2f} | {row.mean:.2f} | "
            f"{predicted} | {delays} | {row.late} | {failed} |"
        )
    periods = [f"| {every:g} | {capacity(served.rate, every)} |" for every in (0.5, 1.0, 2.0, 5.0, 10.0)]
    table = ["| keyframe every, s | robots |", "|---|---|", *periods]
    return "\n".join((head, "", *lines, "", *table, ""))

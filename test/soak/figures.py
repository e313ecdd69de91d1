# SPDX-License-Identifier: Apache-2.0
"""What a soak's samples say: what each process gained over the rounds, and what answers and contexts did meanwhile.

Rounds of trouble are alike, so like is compared with like: one value of each round, the median of its samples, and a
line through these by the Theil-Sen estimator, which a round out of the ordinary does not turn.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

from soak.schedule import BRIDGE, CALM, EDGE, PHASE, RECORDER

# The targets.
SLOPE = 0.5  # MB a minute
GAIN = 1.0  # threads, descriptors: not one more at the end than at the beginning
PACE = 0.95  # while the cloud fails, over that of the calm phases: told, not judged, since machines are never quiet

ROUNDS = 5  # that it takes after the warm-up to speak of a slope
_WARM_UP = 0.2  # of the rounds, one at least
_LEVEL = 0.95  # of intervals
_MB = 1e6

JUDGED = (EDGE, BRIDGE, RECORDER, "lvlm_server")


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment. at: seconds from the beginning. memory: bytes in main memory; private: those of them
    that are no file's and not shared. cpu: seconds since it started."""

    at: float
    process: str
    pid: int
    memory: int
    private: int
    threads: int
    descriptors: int
    cpu: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was done, when it was done: see schedule.Step."""

    at: float
    kind: str
    value: str
    begins: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """A context as it was heard. id: of its keyframe. status: its name in small letters."""

    at: float
    id: int
    status: str


@dataclass(slots=True)
class Samples:
    """All that a run gave, each list oldest first. answers: when they were heard. asks: what came of each goal.

    shared: (at, bytes in use of /dev/shm, by everyone on the machine).
    """

    uses: list[Sample] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    asks: Counter[str] = field(default_factory=Counter)
    shared: list[tuple[float, int]] = field(default_factory=list)
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """A phase as it was: round from 0, seconds from the beginning."""

    name: str
    round: int
    begin: float
    end: float


# -- arithmetic ------------------------------------------------------------------------------------------------------


def theil_sen(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float] | None:
    """The median of the slopes between all pairs of points, and the ends of its 95 % interval.

    P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63, 1968, eq. 2.6 for the variance
    of tau. None of less than ROUNDS points. The x must differ.
    """
    n = len(x)
    if n < ROUNDS:
        return None
    first, second = np.triu_indices(n, 1)
    ax, ay = np.asarray(x, np.float64), np.asarray(y, np.float64)
    slopes = np.sort((ay[second] - ay[first]) / (ax[second] - ax[first]))
    _, ties = np.unique(ay, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float(np.sum(ties * (ties - 1) * (2 * ties + 5)))) / 18
    reach = NormalDist().inv_cdf(0.5 + _LEVEL / 2) * math.sqrt(max(variance, 0.0))
    low = max(math.floor((len(slopes) - reach) / 2) - 1, 0)
    high = min(math.ceil((len(slopes) + reach) / 2), len(slopes) - 1)
    return float(np.median(slopes)), float(slopes[low]), float(slopes[high])


def spans(marks: Sequence[Mark], ended: float) -> list[Span]:
    """The phases as they were, which on a slow machine is later than they were planned."""
    phases = [mark for mark in marks if mark.kind == PHASE]
    found, number = [], -1
    for mark, end in zip(phases, [*(mark.at for mark in phases[1:]), ended], strict=True):
        number += mark.value == CALM
        found.append(Span(mark.value, number, mark.at, end))
    return found


def warm_rounds(rounds: int) -> int:
    """How many rounds at the beginning are left out: caches, allocators and queues find their size in them."""
    return max(1, math.ceil(_WARM_UP * rounds)) if rounds > 1 else 0


def of_rounds(
    phases: Sequence[Span], uses: Sequence[Sample], what: str, only: str = ""
) -> tuple[list[float], list[float]]:
    """Minutes of the middle of each round after the warm-up, and the median of a field of the samples in it.

    only: a phase; else the whole round. Rounds without a sample are left out.
    """
    rounds = max((span.round for span in phases), default=-1) + 1
    minutes, values = [], []
    for number in range(warm_rounds(rounds), rounds):
        wanted = [span for span in phases if span.round == number and (not only or span.name == only)]
        if not wanted:
            continue
        begin, end = wanted[0].begin, wanted[-1].end
        inside = [float(getattr(use, what)) for use in uses if begin <= use.at < end]
        if inside:
            minutes.append((begin + end) / 120)
            values.append(float(np.median(inside)))
    return minutes, values


# -- figures ---------------------------------------------------------------------------------------------------------


def figures(samples: Samples) -> dict[str, Any]:
    """All figures, by name."""
    phases = spans(samples.marks, samples.ended)
    names = list(dict.fromkeys(use.process for use in samples.uses))
    return {
        "seconds": samples.ended,
        "rounds": max((span.round for span in phases), default=-1) + 1,
        "processes": {name: _process(phases, [use for use in samples.uses if use.process == name]) for name in names},
        "phases": {name: _phase(phases, samples, name) for name in dict.fromkeys(span.name for span in phases)},
        "answers": len(samples.answers),
        "longest_silence_s": _longest_silence(samples, phases),
        "replies": dict(Counter(reply.status for reply in samples.replies)),
        "contexts_lost": _lost([reply.id for reply in samples.replies]),
        "contexts_twice": len(samples.replies) - len({reply.id for reply in samples.replies}),
        "asks": dict(samples.asks),
        "events": dict(
            Counter(f"{mark.kind} {mark.value}".strip() for mark in samples.marks if mark.begins and mark.kind != PHASE)
        ),
        "shared_memory_mb": {"first": samples.shared[0][1] / _MB, "last": samples.shared[-1][1] / _MB}
        if samples.shared
        else None,
    }


def _process(phases: Sequence[Span], uses: Sequence[Sample]) -> dict[str, Any]:
    runs = Counter(use.pid for use in uses)
    longest = [use for use in uses if use.pid == runs.most_common(1)[0][0]]
    found: dict[str, Any] = {"runs": len(runs), "cpu": _cpu(longest)}
    for what, unit in (("memory", _MB), ("private", _MB), ("threads", 1), ("descriptors", 1)):
        whole_round = unit != 1
        minutes, values = of_rounds(phases, uses, what, "" if whole_round else CALM)
        line = theil_sen(minutes, values)
        measured = [getattr(use, what) / unit for use in uses]
        found[what] = {
            "first": values[0] / unit if values else measured[0],
            "last": values[-1] / unit if values else measured[-1],
            "max": max(measured),
            "per_min": line and line[0] / unit,
            "interval": line and [line[1] / unit, line[2] / unit],
            "gained": line and line[0] / unit * (minutes[-1] - minutes[0]),
        }
    return found


def _cpu(uses: Sequence[Sample]) -> float:
    """Of a core."""
    passed = uses[-1].at - uses[0].at
    return (uses[-1].cpu - uses[0].cpu) / passed if passed > 0 else 0.0


def _phase(phases: Sequence[Span], samples: Samples, name: str) -> dict[str, float]:
    """Per second, over all phases of this name after the warm-up, or over all in a run of one round."""
    first = warm_rounds(max(span.round for span in phases) + 1)
    wanted = [span for span in phases if span.name == name and span.round >= first]
    passed = sum(span.end - span.begin for span in wanted)

    def rate(moments: Sequence[float]) -> float:
        return sum(span.begin <= at < span.end for span in wanted for at in moments) / max(passed, 1e-9)

    return {
        "seconds": passed,
        "answers_per_s": rate(samples.answers),
        "contexts_per_s": rate([reply.at for reply in samples.replies if reply.status == "ok"]),
        "failed_per_s": rate([reply.at for reply in samples.replies if reply.status != "ok"]),
    }


def _longest_silence(samples: Samples, phases: Sequence[Span]) -> float | None:
    """Between two answers while only the cloud fails, or nothing does."""
    quiet = [span for span in phases if span.name in (CALM, "cloud")]
    gaps = [
        later - earlier
        for earlier, later in zip(samples.answers, samples.answers[1:], strict=False)
        if any(span.begin <= earlier and later < span.end for span in quiet)
    ]
    return max(gaps, default=None)


def _lost(ids: Sequence[int]) -> int:
    """Keyframes of which nothing was heard, of those between the first and the newest that something was heard of."""
    return max(ids) - min(ids) + 1 - len(set(ids)) if ids else 0


# -- verdict ---------------------------------------------------------------------------------------------------------


def targets(found: dict[str, Any], tracebacks: int) -> list[dict[str, Any]]:
    """Each demand: what, the value, its limit, whether it is met; None where a run was too short to tell."""
    rows: list[dict[str, Any]] = []
    for name, process in found["processes"].items():
        if name not in JUDGED:
            continue
        memory = process["memory"]
        rows.append(_row(f"{name}: memory, MB a minute", memory["per_min"], SLOPE, memory["interval"]))
        for what in ("threads", "descriptors"):
            rows.append(_row(f"{name}: {what} gained", process[what]["gained"], GAIN))
    rows.append(_row("tracebacks in logs", tracebacks, 1))
    rows.append(_row("requests without a context", found["contexts_lost"], 1))
    rows.append(_row("requests with two contexts", found["contexts_twice"], 1))
    return rows


def _row(what: str, value: float | None, limit: float, interval: Any = None) -> dict[str, Any]:
    met = None if value is None else value < limit
    return {"what": what, "value": value, "limit": limit, "interval": interval, "met": met}


def markdown(soak: dict[str, Any]) -> str:
    """soak.json as tables. soak: with "figures", "targets", "asked", "machine", "logs"."""
    found, asked = soak["figures"], soak["asked"]
    lines = [
        f"{found['seconds'] / 60:.1f} minutes, {found['rounds']} rounds; camera {asked['rate']:g} Hz, "
        f"{asked['width']}x{asked['height']}; cloud: {asked['cloud']}; {soak['machine']['cpu']}",
        "",
        "| | measured | 95 % interval | must be below | |",
        "|---|---|---|---|---|",
    ]
    for row in soak["targets"]:
        verdict = {True: "yes", False: "**no**", None: "too short to tell"}[row["met"]]
        interval = "" if row["interval"] is None else f"{row['interval'][0]:.2f} to {row['interval'][1]:.2f}"
        lines.append(f"| {row['what']} | {_told(row['value'])} | {interval} | {row['limit']:g} | {verdict} |")
    lines += [
        "",
        "| process | runs | CPU of a core | memory MB, first, last, max | MB a minute, of it private "
        "| threads first, last, max | descriptors first, last, max |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, process in found["processes"].items():
        memory, private = process["memory"], process["private"]
        lines.append(
            f"| {name} | {process['runs']} | {process['cpu']:.3f} | {_three(memory)} "
            f"| {_told(memory['per_min'])}, {_told(private['per_min'])} "
            f"| {_three(process['threads'])} | {_three(process['descriptors'])} |"
        )
    lines += ["", "| phase | seconds | answers/s | contexts/s | failed/s |", "|---|---|---|---|---|"]
    for name, phase in found["phases"].items():
        lines.append(
            f"| {name} | {phase['seconds']:.0f} | {phase['answers_per_s']:.2f} | {phase['contexts_per_s']:.2f} "
            f"| {phase['failed_per_s']:.2f} |"
        )
    calm, cloud = (found["phases"].get(name, {}).get("answers_per_s", 0.0) for name in (CALM, "cloud"))
    lines += [
        "",
        f"Answers while the cloud fails, over those in calm: {cloud / calm if calm else math.nan:.3f} "
        f"(wanted: {PACE}). Longest silence of both: {_told(found['longest_silence_s'])} s.",
        f"Contexts: {_counts(found['replies'])}. Asks: {_counts(found['asks'])}.",
        f"Done: {_counts(found['events'])}.",
        f"Lines in logs: {_counts(soak['logs'])}.",
    ]
    return "\n".join(lines) + "\n"


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:d}" if isinstance(value, int) else f"{value:.2f}"


def _three(of: dict[str, float]) -> str:
    return f"{of['first']:.0f}, {of['last']:.0f}, {of['max']:.0f}"


def _counts(of: dict[str, int]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in of.items()) or "none"

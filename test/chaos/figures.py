# SPDX-License-Identifier: Apache-2.0
"""What each fault came to: pace of the edge, recovery, and how requests ended; and what must never happen.

The pace is told by comparison: answers in a fault's window against those of the quiet just before and after it, so
that what the machine does besides falls on both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chaos.schedule import Entry

PACE = 0.95
"""Of the undisturbed rate, that the edge keeps while something else is broken."""
PROBES = 2.0
"""Of the breaker's intervals, within which the cloud is back after a fault."""
_LEAST_S = 1.0  # of quiet, that a rate can be told of


@dataclass(frozen=True, slots=True)
class Request:
    """A context as it was heard. at: seconds from the beginning, as of all times here; sent: of its keyframe.

    life: of the bridge, whose keyframes are counted from 1 in each. stamp: of sending, nanoseconds.
    """

    at: float
    sent: float
    id: int
    life: int
    status: str
    error: str
    stamp: int


@dataclass(slots=True)
class Window:
    """A fault as it was, which may be later than planned. end: once all is put right again."""

    entry: Entry
    begin: float
    end: float


def pace(windows: Sequence[Window], answers: Sequence[float], ended: float) -> list[float | None]:
    """Of each window, its rate of answers over that of the quiet around it; None where that says nothing.

    Quiet that follows a fault of the camera or of the edge itself is none yet: a camera that was restarted is away.
    """
    edges = [0.0, *(at for window in windows for at in (window.begin, window.end)), ended]
    found: list[float | None] = []
    for number, window in enumerate(windows):
        quiets = [(window.end, edges[2 * number + 3])]
        if not number or windows[number - 1].entry.kind.paced:
            quiets.append((edges[2 * number], window.begin))
        seconds = sum(end - begin for begin, end in quiets)
        heard = sum(_count(answers, begin, end) for begin, end in quiets)
        lasted = window.end - window.begin
        if not window.entry.kind.paced or not heard or seconds < _LEAST_S or lasted < _LEAST_S:
            found.append(None)
        else:
            found.append((_count(answers, window.begin, window.end) / lasted) / (heard / seconds))
    return found


def recovery(window: Window, requests: Sequence[Request], until: float) -> float | None:
    """Seconds from a fault's end to the first answer of the cloud after it, if there is one until then."""
    return next((one.at - window.end for one in requests if window.end <= one.at < until and one.status == "ok"), None)


def silent(requests: Sequence[Request]) -> int:
    """Requests of which no context came: numbers that are missing between the first and the last of a bridge's life."""
    missing = 0
    for life in {one.life for one in requests}:
        ids = {one.id for one in requests if one.life == life}
        missing += max(ids) - min(ids) + 1 - len(ids)
    return missing


def twice(requests: Sequence[Request]) -> int:
    """Contexts that came again for a request."""
    return len(requests) - len({(one.life, one.id) for one in requests})


def rows(
    windows: Sequence[Window],
    answers: Sequence[float],
    requests: Sequence[Request],
    memory: Sequence[tuple[float, str, int]],
    ended: float,
    probe: float,
) -> list[dict[str, Any]]:
    """One for each fault. memory: (at, process, bytes). probe: seconds between two probes at most."""
    paces = pace(windows, answers, ended)
    ends = [*(window.begin for window in windows[1:]), ended]
    return [
        {
            "fault": window.entry.label,
            "place": window.entry.place,
            "words": window.entry.kind.words,
            "begin_s": round(window.begin, 2),
            "seconds": round(window.end - window.begin, 2),
            "edge_rate_ratio": None if ratio is None else round(ratio, 3),
            "recovery_s": None if (back := recovery(window, requests, ended)) is None else round(back, 2),
            "recovery_limit_s": round(PROBES * probe + window.entry.settings.get("retry_after", 0.0), 2),
            **_outcomes(window, requests, until),
            "rss_mb": _memory(memory, window.begin, until),
        }
        for window, ratio, until in zip(windows, paces, ends, strict=True)
    ]


def _outcomes(window: Window, requests: Sequence[Request], until: float) -> dict[str, Any]:
    """Of the requests that were under way during a fault."""
    met = [one for one in requests if one.sent <= max(window.end, window.begin) and one.at >= window.begin]
    met = met or [one for one in requests if window.begin <= one.at < until][:1]
    errors = [one.error for one in met if one.error]
    return {
        "requests": len(met),
        "outcomes": dict(Counter(one.status for one in met)),
        "said": Counter(errors).most_common(1)[0][0] if errors else "",
    }


def _memory(memory: Sequence[tuple[float, str, int]], begin: float, end: float) -> float:
    """The most that each process had then, all together, MB."""
    most: dict[str, int] = {}
    for at, name, held in memory:
        if begin <= at < end:
            most[name] = max(most.get(name, 0), held)
    return round(sum(most.values()) / 1e6, 1)


def wrong(found: Sequence[dict[str, Any]], totals: dict[str, Any]) -> list[str]:
    """What must never be, whatever machine it is; empty if all is well."""
    said = [
        f"{row['fault']}: the cloud never answered again"
        for row in found
        if "skipped" not in row and row["recovery_s"] is None
    ]
    said += [f"{totals[name]} {words}" for name, words in _NEVER.items() if totals[name]]
    return said


_NEVER = {
    "silent": "requests ended without a context",
    "twice": "contexts came a second time",
    "tracebacks": "tracebacks in the logs",
    "contexts_unrecorded": "contexts that were heard are not in the record",
}


def slow(found: Sequence[dict[str, Any]]) -> list[str]:
    """What is less than it should be, on this machine at this hour: told, not judged."""
    said = []
    for row in (row for row in found if "skipped" not in row):
        ratio, back = row["edge_rate_ratio"], row["recovery_s"]
        if ratio is not None and ratio < PACE:
            said.append(f"{row['fault']}: the edge answers at {ratio:.2f} of its rate (at least {PACE} is wanted)")
        if back is not None and back > row["recovery_limit_s"]:
            said.append(f"{row['fault']}: back after {back:.1f} s ({row['recovery_limit_s']:g} s are allowed)")
    return said


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """The table."""
    lines = ["| fault | where | edge's pace | back after | requests | how they ended | MB |"]
    lines.append("| --- | --- | ---: | ---: | ---: | --- | ---: |")
    for row in found:
        if "skipped" in row:
            lines.append(f"| {row['fault']} | {row['place']} | | | | {row['skipped']} | |")
            continue
        ratio = "–" if row["edge_rate_ratio"] is None else f"{100 * row['edge_rate_ratio']:.0f} %"
        back = "never" if row["recovery_s"] is None else f"{row['recovery_s']:.1f} s"
        ends = ", ".join(f"{count} {name}" for name, count in sorted(row["outcomes"].items()))
        lines.append(
            f"| {row['fault']} | {row['place']} | {ratio} | {back} | {row['requests']} | {ends} | {row['rss_mb']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _count(moments: Sequence[float], begin: float, end: float) -> int:
    return sum(begin <= at < end for at in moments)

# SPDX-License-Identifier: Apache-2.0
"""The evidence in tables: accuracies, what they recover of what is possible, and edgeVLM against each other policy.

Tables are plain rows of text, which Markdown and the report's page both show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgevlm_ros.evaluation.bootstrap import Estimate
from edgevlm_ros.evaluation.results import (
    ALL,
    BY_PERIOD,
    BY_SIGNS,
    FLOOR,
    LIMIT,
    OURS,
    USUAL,
    Results,
    cloud_label,
    delay_label,
    policy_label,
    telling_delay,
)

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """head: of the columns, the first of which names the row. strong: places of rows to be emphasised."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: tuple[int, ...] = ()


def tables(results: Results) -> list[Table]:
    """All that there is something to say in; without ground truth only what it cost."""
    found = []
    if results.judged:
        found += [_accuracy(results, ALL), _calls(results), _shares(results), _differences(results)]
        named = results.datasets[1:]
        found += [_accuracy(results, dataset) for dataset in named if len(named) > 1]
    return [table for table in [*found, _cost(results)] if table.rows]


def markdown(
    header: Mapping[str, Any], found: Sequence[Table], problems: Sequence[str] = (), notes: Sequence[str] = ()
) -> str:
    """results.md: what has to be known first, how it was run, the tables, and what was left out of the streams."""
    parts = ["# Evaluation", *(f"**Note: {note}**" for note in notes)]
    parts.append("\n".join(f"- {name}: {text}" for name, text in header_rows(header)))
    for table in found:
        parts += [f"## {table.title}", table.note, _drawn(table)]
    if problems:
        parts += ["## Left out of the streams", "\n".join(f"- {problem}" for problem in problems)]
    return "\n\n".join(part for part in parts if part) + "\n"


def header_rows(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each thing that is known of a run; a mapping's entries stand in one line."""
    return [(str(name), _flat(value)) for name, value in header.items() if value not in (None, "", [], {}, ())]


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_flat(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_flat, value))
    return str(value)


def percent(found: Estimate | None, signed: bool = False) -> str:
    """'72.6 [69.4, 75.9]', of a share or an accuracy of 0..1."""
    if found is None:
        return NOTHING
    sign = "+" if signed else ""
    value = f"{100 * found.value:{sign}.1f}"
    if found.low is None or found.high is None:
        return value
    return f"{value} [{100 * found.low:{sign}.1f}, {100 * found.high:{sign}.1f}]"


def _accuracy(results: Results, dataset: str) -> Table:
    kept = [policy for policy in results.policies if any(results.accuracy(policy, d, dataset) for d in results.delays)]
    return Table(
        "Streaming accuracy" if dataset == ALL else f"Streaming accuracy, {dataset}",
        "Percent of the ground-truth times at which the newest published answer is right, by the cloud's delay; in "
        "brackets 95 % by bootstrap over scenes."
        if dataset == ALL
        else "",
        ("policy", *map(delay_label, results.delays)),
        tuple((policy_label(p), *(percent(results.accuracy(p, d, dataset)) for d in results.delays)) for p in kept),
        tuple(place for place, policy in enumerate(kept) if policy == OURS),
    )


def _calls(results: Results) -> Table:
    """Of edgeVLM with other keyframes."""
    kept = [policy for policy in results.policies if policy in (*BY_PERIOD, *BY_SIGNS)]
    calls = {
        (row["policy"], row["delay"]): row["cloud_calls_per_min"] for row in results.rows() if row["dataset"] == ALL
    }

    def cell(policy: str, delay: str) -> str:
        minus = results.difference(policy, USUAL, delay)
        return f"{_number(calls.get((policy, delay)), 1)}: {percent(minus, True)}"

    return Table(
        "What a cloud call buys",
        f"Cloud calls a minute, and points of streaming accuracy beside {policy_label(USUAL)}, paired by scene.",
        ("keyframes", *map(delay_label, results.delays)),
        tuple((policy_label(policy), *(cell(policy, delay) for delay in results.delays)) for policy in kept),
        tuple(place for place, policy in enumerate(kept) if policy in BY_SIGNS),
    )


def _shares(results: Results) -> Table:
    kept = [p for p in results.competitors if p != FLOOR]
    lines = [(policy_label(p), *(percent(results.share_of_gap(p, d)) for d in results.delays)) for p in kept]
    for policy in (OURS,) if OURS in kept and LIMIT in results.policies else ():
        shares = (percent(results.share_of_gap(policy, d, ceiling=LIMIT)) for d in results.delays)
        lines.append((f"{policy_label(policy)}, of what {policy_label(LIMIT)} gains", *shares))
    lines = [line for line in lines if any(cell != NOTHING for cell in line[1:])]
    ours = tuple(place for place, line in enumerate(lines) if line[0].startswith(policy_label(OURS)))
    return Table(
        "What is recovered",
        "Percent of the gap from edge only (0) to the cloud without delay (100). Below zero: worse than edge only.",
        ("policy", *map(delay_label, results.delays)),
        tuple(lines),
        ours,
    )


def _differences(results: Results) -> Table:
    others = [policy for policy in results.policies if policy != OURS] if OURS in results.policies else []
    return Table(
        "edgeVLM minus each other policy",
        "Points of streaming accuracy, paired by scene. An interval above zero: edgeVLM is better by more than chance.",
        ("minus", *map(delay_label, results.delays)),
        tuple(
            (policy_label(p), *(percent(results.difference(OURS, p, d), True) for d in results.delays)) for p in others
        ),
    )


def _cost(results: Results) -> Table:
    delay = telling_delay(results)
    rows = [row for row in results.rows() if (row["dataset"], row["delay"]) == (ALL, delay)]
    return Table(
        "What it costs",
        f"{cloud_label(delay).capitalize()}; other delays are in results.json. Answer age: at each ground-truth time, "
        "since the capture of the frame that the newest answer is about. "
        "Misses: ground-truth times before the first answer.",
        ("policy", "answer age p50, ms", "p95, ms", "misses", "uploaded, kB/s", "cloud calls a minute"),
        tuple(
            (
                policy_label(row["policy"]),
                _number(row["answer_age_p50_ms"], 0),
                _number(row["answer_age_p95_ms"], 0),
                str(row["misses"]),
                _number(None if row["bytes_up_per_s"] is None else row["bytes_up_per_s"] / 1e3, 2),
                _number(row["cloud_calls_per_min"], 1),
            )
            for row in rows
        ),
        tuple(place for place, row in enumerate(rows) if row["policy"] == OURS),
    )


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _drawn(table: Table) -> str:
    """In columns that line up, for the terminal too."""
    body = [
        tuple(f"**{cell}**" for cell in row) if place in table.strong else row for place, row in enumerate(table.rows)
    ]
    lines = [tuple(cell.replace("|", "\\|") for cell in line) for line in (table.head, *body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.head))]
    drawn = ["| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    rule = "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths))
    return "\n".join([drawn[0], f"|{rule}|", *drawn[1:]])

# SPDX-License-Identifier: Apache-2.0
"""The benchmark's two pictures: first token against history, and where a frame's time goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from edgevlm_ros.evaluation.bench import LONGEST, USUAL
from edgevlm_ros.evaluation.bench_report import Row, find_row
from edgevlm_ros.evaluation.plots import FAINT, STYLE

_STAGES = {  # and the column that plain `generate` has for it
    "decode_image_ms": ("image message to pixels", None, "#94a3b8"),
    "focus_ms": ("focus", None, "#dc2626"),
    "prepare_ms": ("pixels and prompt", "generate_prepare_ms", "#cbd5e1"),
    "vision_ms": ("vision", "generate_vision_ms", "#15803d"),
    "prefill_ms": ("prefill", "generate_prefill_ms", "#2563eb"),
    "decode_ms": ("8 tokens", "generate_rest_ms", "#d97706"),
    "publish_ms": ("publish", None, "#7c3aed"),
}
_LINES = {  # by what they show
    "generate_ttft_ms": ("plain generate", "#dc2626", "s--"),
    "ttft_ms": ("with reuse", "#2563eb", "o-"),
    "anew": ("without reuse", "#64748b", "^:"),
}


def draw_first_token(results: Sequence[Row], path: Path) -> None:
    """Frame to first token against the history's length, one panel for each model."""
    results = [result for result in results if result.get("rows")]
    if not results:
        return
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(results), 2.8), layout="constrained")
        for axes, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
            for name, (label, colour, mark) in _LINES.items():
                wanted = ("none", name != "anew", "off")
                rows = [row for row in result["rows"] if (row["mode"], row["reuse"], row["draft"]) == wanted]
                points = sorted((row["history_tokens"], _first_token(row, name)) for row in rows)
                points = [point for point in points if point[1] is not None]
                axes.plot(*zip(*points, strict=True) if points else ((), ()), mark, color=colour, ms=4, label=label)
            axes.set_title(result["model"])
            axes.set_xlabel("tokens of history")
            axes.set_ylim(bottom=0)
            axes.grid(color=FAINT, lw=0.4)
        figure.axes[0].set_ylabel("frame to first token, ms")
        figure.axes[0].legend(loc="upper left")
        figure.savefig(path, dpi=150)


def _first_token(row: Row, line: str) -> float | None:
    """From the frame on, so with the processor's work."""
    if line != "generate_ttft_ms":
        return float(row["ttft_ms"])
    return None if row[line] is None else float(row[line] + row["generate_prepare_ms"])


def draw_stages(results: Sequence[Row], path: Path) -> None:
    """Where a frame's time goes, one panel for each model and a bar for each way to answer."""
    results = [result for result in results if result.get("rows")]
    if not results:
        return
    with matplotlib.rc_context(STYLE):
        bars = [_bars(result) for result in results]
        figure = Figure(figsize=(8.0, sum(0.28 * len(each) + 0.7 for each in bars) + 0.4), layout="constrained")
        panels = figure.subplots(len(bars), 1, squeeze=False, height_ratios=[len(each) + 2 for each in bars])[:, 0]
        for axes, result, each in zip(panels, results, bars, strict=True):
            left = [0.0] * len(each)
            for stage, (label, _, colour) in _STAGES.items():
                widths = [times.get(stage) or 0.0 for times in each.values()]
                axes.barh(range(len(each)), widths, left=left, height=0.7, color=colour, label=label)
                left = [a + b for a, b in zip(left, widths, strict=True)]
            axes.set_yticks(range(len(each)), list(each))
            axes.set_ylim(len(each) - 0.4, -0.6)
            axes.set_title(result["model"])
            axes.grid(axis="x", color=FAINT, lw=0.4)
        panels[-1].set_xlabel("milliseconds")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
        figure.savefig(path, dpi=150)


def _bars(result: Row) -> dict[str, dict[str, float | None]]:
    """Milliseconds of each stage, by what the bar is called."""
    bars: dict[str, dict[str, float | None]] = {}
    for history in (LONGEST, 0):
        row = find_row(result, "none", history)
        if row is not None and row["generate_ms"] is not None:
            inside = row["generate_vision_ms"] + row["generate_prefill_ms"]
            plain = {**row, "generate_rest_ms": row["generate_ms"] - inside}
            bars[f"generate, history {history}"] = {
                stage: plain[column] for stage, (_, column, _) in _STAGES.items() if column
            }
        anew = find_row(result, "none", history, reuse=False)
        same, changed = (find_row(result, "none", history, draft=draft) for draft in ("accepted", "rejected"))
        for name, found in (
            (f"no reuse, history {history}", anew),
            (f"reuse, history {history}", row),
            (f"and a wrong draft, history {history}", changed),
            (f"and a right draft, history {history}", same),
        ):
            if found is not None:
                bars[name] = {stage: found.get(stage) for stage in _STAGES}
    for row in result["rows"]:
        if (row["reuse"], row["draft"], row["history_tokens"]) == (True, "off", USUAL):
            bars[f"{row['mode']}, history {USUAL}"] = {stage: row.get(stage) for stage in _STAGES}
    return bars

# SPDX-License-Identifier: Apache-2.0
"""The picture of a chaos run: the edge's pace over the faults, and below it what became of each request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from chaos.figures import Request, Window, recovery
from edgevlm_ros.evaluation.plots import FAINT, INK, STYLE

_PLACES = {
    "cloud": "#fde68a",
    "network": "#bfdbfe",
    "address": "#ddd6fe",
    "kernel": "#c7d2fe",
    "camera": "#fecdd3",
    "edge": "#bbf7d0",
    "process": "#fed7aa",
}
_STATUS = ("ok", "dropped", "timeout", "unreachable", "rejected", "unparsable")
_COLOURS = dict(zip(_STATUS, ("#15803d", "#94a3b8", "#7c3aed", "#2563eb", "#d97706", "#dc2626"), strict=True))
_BIN_S = 1.0
_ROW_S = 130.0  # of a run, that one pair of axes shows


def draw_chaos(
    windows: Sequence[Window], answers: Sequence[float], requests: Sequence[Request], ended: float, path: Path
) -> None:
    count = max(1, round(ended / _ROW_S))
    # rows are cut in the quiet before a fault
    cuts = [0.0]
    for number in range(1, count):
        after = [window.begin - 1.0 for window in windows if window.begin - 1.0 > number * ended / count]
        cuts += after[:1]
    spans = list(zip(cuts, [*cuts[1:], ended], strict=True))
    width = max(end - begin for begin, end in spans)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(14.0, 0.6 + 4.4 * len(spans)), layout="constrained")
        grid = figure.subplots(2 * len(spans), 1, squeeze=False, height_ratios=[2.4, 1.2] * len(spans))[:, 0]
        top = 1.15 * float(np.max(_rate(answers, ended)[1], initial=1.0))
        for number, (begin, end) in enumerate(spans):
            rate, ends = grid[2 * number], grid[2 * number + 1]
            shown = [window for window in windows if begin <= window.begin < end]
            for axes in (rate, ends):
                axes.set_xlim(begin, begin + width)
                _shade(axes, shown)
            _pace(rate, answers, shown, ended, top)
            _requests(ends, requests, shown, ended, (begin, end))
        grid[-1].set_xlabel("seconds; shaded: the fault; dark bar: until the cloud answers again")
        places = [place for place in _PLACES if any(window.entry.place == place for window in windows)]
        patches = [matplotlib.patches.Patch(color=_PLACES[place], label=place) for place in places]
        figure.legend(handles=patches, loc="outside upper center", ncols=len(patches))
        figure.savefig(path, dpi=110)


def _rate(answers: Sequence[float], ended: float) -> tuple[Any, Any]:
    edges = np.arange(0.0, ended + _BIN_S, _BIN_S)
    return edges, np.histogram(answers, edges)[0] / _BIN_S


def _shade(axes: Any, windows: Sequence[Window]) -> None:
    for window in windows:
        axes.axvspan(window.begin, max(window.end, window.begin + 0.3), color=_PLACES[window.entry.place], lw=0)


def _pace(axes: Any, answers: Sequence[float], windows: Sequence[Window], ended: float, top: float) -> None:
    edges, rate = _rate(answers, ended)
    axes.stairs(rate, edges, color=INK, lw=1.0)
    axes.set_ylim(0, 2.5 * top)
    axes.set_yticks(range(0, int(top) + 1, max(1, round(top / 4))))
    axes.grid(axis="y", color=FAINT, lw=0.4)
    axes.set_ylabel("edge answers/s", loc="bottom")
    axes.tick_params(labelbottom=False)
    for window in windows:
        middle = (window.begin + max(window.end, window.begin + 0.3)) / 2
        axes.text(middle, 1.08 * top, window.entry.label, rotation=90, ha="center", va="bottom", size=7)


def _requests(
    axes: Any, requests: Sequence[Request], windows: Sequence[Window], ended: float, span: tuple[float, float]
) -> None:
    rows = {status: -at for at, status in enumerate(_STATUS)}
    for one in (one for one in requests if span[0] <= one.at < span[1]):
        row, colour = rows[one.status], _COLOURS[one.status]
        axes.plot([max(span[0], one.sent), one.at], [row, row], color=colour, lw=0.8, alpha=0.6)
        axes.plot(one.at, row, "o", color=colour, ms=2.6, mew=0)
    for window in windows:
        back = recovery(window, requests, ended)
        if back is not None:
            axes.plot([window.end, window.end + back], [0.6, 0.6], color="#475569", lw=1.6, solid_capstyle="butt")
    axes.set_yticks(list(rows.values()), list(rows))
    axes.set_ylim(-len(rows) + 0.4, 1.0)

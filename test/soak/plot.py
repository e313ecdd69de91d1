# SPDX-License-Identifier: Apache-2.0
"""The picture of a soak: memory, threads and descriptors of each process over the minutes, and what happened when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from edgevlm_ros.evaluation.plots import FAINT, STYLE
from soak.figures import Samples, Span, of_rounds, spans, theil_sen, warm_rounds
from soak.schedule import CALM, PHASE, VALUES

_COLOURS = {
    "edge_node": "#2563eb",
    "cloud_bridge_node": "#d97706",
    "lvlm_server": "#15803d",
    "camera": "#94a3b8",
    "soak": "#cbd5e1",
}
_OTHER, _FAILED, _LINE = "#7c3aed", "#dc2626", "#1f2933"
_BIN_S = 5.0
_BEHIND = ("camera", "soak")  # of the test, not of the product


def draw_soak(samples: Samples, path: Path) -> None:
    phases = spans(samples.marks, samples.ended)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 11.5), layout="constrained")
        memory, threads, descriptors, rate, events = figure.subplots(
            5, 1, sharex=True, height_ratios=[3.2, 1.6, 1.6, 1.6, 2.6]
        )
        _processes(memory, samples, phases, "memory", 1e6, "memory in use, with the line through the rounds", "MB")
        _processes(threads, samples, phases, "threads", 1, "threads", "")
        _processes(descriptors, samples, phases, "descriptors", 1, "file descriptors", "")
        _rates(rate, samples)
        _events(events, samples)
        for axes in (memory, threads, descriptors, rate, events):
            _rounds(axes, phases)
            axes.grid(color=FAINT, lw=0.4)
            axes.set_xlim(0, samples.ended / 60)
        handles, labels = memory.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        events.set_xlabel("minutes; grey: rounds of the warm-up")
        figure.savefig(path, dpi=130)


def _processes(axes: Any, samples: Samples, phases: list[Span], what: str, unit: float, title: str, label: str) -> None:
    for name in dict.fromkeys(use.process for use in samples.uses):
        uses = [use for use in samples.uses if use.process == name]
        colour, behind = _COLOURS.get(name, _OTHER), name in _BEHIND
        at, values = [use.at / 60 for use in uses], [getattr(use, what) / unit for use in uses]
        axes.plot(at, values, color=colour, lw=0.8 if behind else 1.2, label=name, zorder=1 if behind else 2)
        if what != "memory" or behind:
            continue
        minutes, held = of_rounds(phases, uses, what)
        line = theil_sen(minutes, held)
        axes.plot(minutes, np.asarray(held) / unit, "o", color=colour, ms=4, mec="white", mew=0.6, zorder=4)
        if line is not None:
            middle = np.median(np.asarray(held) - line[0] * np.asarray(minutes))
            ends = np.array([minutes[0], minutes[-1]])
            axes.plot(ends, (line[0] * ends + middle) / unit, color=_LINE, lw=0.9, ls="--", zorder=3)
            axes.annotate(
                f"{line[0] / unit:+.2f} MB/min", (ends[-1], (line[0] * ends[-1] + middle) / unit),
                xytext=(0, 9), textcoords="offset points", ha="right", color=_LINE, zorder=5,
            )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.set_ylabel(label)


def _rates(axes: Any, samples: Samples) -> None:
    edges = np.arange(0.0, samples.ended + _BIN_S, _BIN_S)
    middles = (edges[:-1] + edges[1:]) / 120

    def rate(moments: list[float]) -> Any:
        return np.histogram(moments, edges)[0] / _BIN_S

    axes.step(middles, rate(samples.answers), where="mid", color=_COLOURS["edge_node"], lw=1.0, label="answers")
    for good, colour, name in ((True, _COLOURS["lvlm_server"], "contexts"), (False, _FAILED, "failed requests")):
        heard = [reply.at for reply in samples.replies if (reply.status == "ok") is good]
        axes.step(middles, rate(heard), where="mid", color=colour, lw=1.0, label=name)
    axes.set_ylim(bottom=0)
    axes.set_title(f"heard, in {_BIN_S:.0f} s")
    axes.set_ylabel("1/s")
    axes.legend(loc="upper right", ncols=3)


def _events(axes: Any, samples: Samples) -> None:
    """One row for each kind; a bar where it lasts."""
    rows = {kind: -at for at, kind in enumerate(VALUES)}
    open_since: dict[str, float] = {}
    for mark in samples.marks:
        if mark.kind == PHASE:
            continue
        row, colour = rows[mark.kind], _FAILED if mark.kind == "fault" else _LINE
        if mark.begins:
            open_since[mark.kind] = mark.at
            axes.plot(mark.at / 60, row, "|", color=colour, ms=6)
        else:
            began = open_since[mark.kind]
            axes.barh(row, (mark.at - began) / 60, left=began / 60, height=0.55, color=colour, lw=0)
    axes.set_yticks(list(rows.values()), list(rows))
    axes.set_ylim(-len(rows) + 0.4, 0.6)
    axes.set_title("what was done")


def _rounds(axes: Any, phases: list[Span]) -> None:
    """A line where a round begins; a shade over those that no figure is about."""
    begins = [span.begin / 60 for span in phases if span.name == CALM]
    for begin in begins[1:]:
        axes.axvline(begin, color=FAINT, lw=0.7, zorder=0)
    warm = warm_rounds(len(begins))
    if warm:
        axes.axvspan(0, begins[warm], color="#f1f5f9", zorder=0)

# SPDX-License-Identifier: Apache-2.0
"""The picture of a soak: memory, threads and descriptors of each process over the minutes, and what happened when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from edgevlm_ros.evaluation.plots import FAINT, STYLE
from soak.figures import JUDGED, Samples, Span, of_rounds, spans, theil_sen, warm_rounds
from soak.schedule import CALM, PHASE, VALUES

_COLOURS = {
    "edge_node": "#2563eb",
    "cloud_bridge_node": "#d97706",
    "recorder_node": "#db2777",
    "lvlm_server": "#15803d",
    "camera": "#94a3b8",
    "soak": "#cbd5e1",
}
_OTHER, _FAILED, _LINE = "#7c3aed", "#dc2626", "#1f2933"
_BIN_S = 5.0


def draw_soak(samples: Samples, path: Path) -> None:
    phases = spans(samples.marks, samples.ended)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 12.5), layout="constrained")
        memory, gained, threads, descriptors, rate, events = figure.subplots(
            6, 1, sharex=True, height_ratios=[1.6, 3.2, 1.4, 1.4, 1.6, 2.6]
        )
        _processes(memory, samples, "memory", 1e6, "memory in use", "MB")
        _gained(gained, samples, phases)
        _processes(threads, samples, "threads", 1, "threads", "")
        _processes(descriptors, samples, "descriptors", 1, "file descriptors", "")
        _rates(rate, samples)
        _events(events, samples)
        for axes in (memory, gained, threads, descriptors, rate, events):
            _rounds(axes, phases)
            axes.grid(color=FAINT, lw=0.4)
            axes.set_xlim(0, samples.ended / 60)
        handles, labels = memory.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        events.set_xlabel("minutes; grey: rounds of the warm-up")
        figure.savefig(path, dpi=130)


def _processes(axes: Any, samples: Samples, what: str, unit: float, title: str, label: str) -> None:
    for name in dict.fromkeys(use.process for use in samples.uses):
        uses = [use for use in samples.uses if use.process == name]
        width = 1.2 if name in JUDGED else 0.8
        values = [getattr(use, what) / unit for use in uses]
        axes.plot([use.at / 60 for use in uses], values, color=_COLOURS.get(name, _OTHER), lw=width, label=name)
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.set_ylabel(label)


def _gained(axes: Any, samples: Samples, phases: list[Span]) -> None:
    """What each process of the product has more than in the first round that counts: every sample, the rounds, and
    their line."""
    axes.set_title("memory gained since the warm-up: samples, rounds and the line through them")
    axes.set_ylabel("MB")
    for name in (name for name in JUDGED if any(use.process == name for use in samples.uses)):
        uses, colour = [use for use in samples.uses if use.process == name], _COLOURS[name]
        minutes, held = of_rounds(phases, uses, "memory")
        zero = held[0] if held else uses[0].memory
        axes.plot([use.at / 60 for use in uses], [(use.memory - zero) / 1e6 for use in uses], color=colour, lw=0.6)
        gained = (np.asarray(held) - zero) / 1e6
        axes.plot(minutes, gained, "o", color=colour, ms=5, mec="white", mew=0.6, zorder=4)
        line = theil_sen(minutes, list(gained))
        if line is None:
            continue
        middle = np.median(gained - line[0] * np.asarray(minutes))
        ends = np.array([minutes[0], minutes[-1]])
        told = f"{name}: {line[0]:+.2f} MB/min ({line[1]:+.2f} to {line[2]:+.2f})"
        axes.plot(ends, line[0] * ends + middle, color=colour, lw=1.4, ls="--", zorder=3, label=told)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right")


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
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 1.25), ncols=3)


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

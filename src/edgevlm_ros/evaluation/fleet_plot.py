# SPDX-License-Identifier: Apache-2.0
"""The picture of a fleet's load test: how long replies take against how many robots ask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from edgevlm_ros.evaluation.fleet_figures import UTILISATION, Figures, Server, wait
from edgevlm_ros.evaluation.plots import FAINT, INK, STYLE

_MEAN, _SPREAD, _LIMIT = "#0072b2", "#94a3b8", "#d55e00"


def draw_fleet(served: Server, period: float, rows: Sequence[Figures], path: Path) -> None:
    """rows: of fleets with this keyframe period, by ascending size."""
    robots = [row.robots for row in rows]
    full = period * served.rate
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        axes = figure.subplots()
        low, high = ([row.delays[percent] for row in rows] for percent in (50, 95))
        axes.fill_between(robots, low, high, color=_SPREAD, alpha=0.35, lw=0, label="median to 95th percentile")
        axes.plot(robots, [row.mean for row in rows], "o-", color=_MEAN, lw=1.8, label="mean, measured")
        steps = np.linspace(min(robots), min(max(robots), 0.985 * full), 200)
        if full > min(robots):
            predicted = [served.alone + wait(n / full, 1.0 / served.rate) for n in steps]
            axes.plot(steps, predicted, "--", color=INK, lw=1.0, label="mean, M/D/1")
        axes.axvline(UTILISATION * full, color=_LIMIT, lw=0.9, ls=":", label=f"{UTILISATION:.0%} of what it can do")
        tallest = max((delay for delay in high if math.isfinite(delay)), default=1.0)
        axes.set_ylim(0.0, 1.15 * tallest)
        axes.set_xlabel(f"robots, each with a keyframe every {period:g} s")
        axes.set_ylabel("seconds from sending to the reply")
        axes.set_title("what a shared server makes each robot wait")
        axes.grid(color=FAINT, lw=0.4)
        axes.legend(loc="upper left")
        figure.savefig(path, dpi=150)

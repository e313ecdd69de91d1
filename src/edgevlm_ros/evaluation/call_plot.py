# SPDX-License-Identifier: Apache-2.0
"""What a cloud call buys: streaming accuracy against calls a minute, by a fixed period and by signs."""

from __future__ import annotations

from typing import Any

import matplotlib
from matplotlib.figure import Figure

from edgevlm_ros.evaluation.evidence_style import BLUE, GREY, LINES, SOFT, png, sides, title
from edgevlm_ros.evaluation.plots import FAINT, STYLE
from edgevlm_ros.evaluation.results import ALL, BY_PERIOD, BY_SIGNS, FLOOR, Results, delay_label

_SETS = (("a fixed period", BY_PERIOD, GREY, "s"), ("signs", BY_SIGNS, BLUE, "o"))


def accuracy_over_calls(results: Results) -> bytes:
    """A panel for each delay, a line for each way to choose keyframes."""
    calls = {
        (row["policy"], row["delay"]): row["cloud_calls_per_min"] for row in results.rows() if row["dataset"] == ALL
    }
    delays = [
        delay for delay in results.delays if any(results.runs(policy, delay) for policy in (*BY_PERIOD, *BY_SIGNS))
    ]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6 * len(delays), 3.9), layout="constrained")
        for axes, delay in zip(figure.subplots(1, len(delays), sharey=True, squeeze=False)[0], delays, strict=True):
            _panel(axes, results, calls, delay)
        figure.axes[0].set_ylabel("streaming accuracy, %")
        title(
            figure,
            "What a call to the cloud buys",
            "Keyframes by a fixed period and by signs; the seconds are the period, or the longest without a sign. "
            "Bars: 95 %.",
        )
        return png(figure)


def _panel(axes: Any, results: Results, calls: dict[tuple[str, str], float | None], delay: str) -> None:
    for name, policies, colour, mark in _SETS:
        points = [
            (calls.get((policy, delay)) or 0.0, found, policy.rpartition("_")[2])
            for policy in policies
            if (found := results.accuracy(policy, delay)) is not None
        ]
        points.sort(key=lambda point: point[0])
        ours = policies is BY_SIGNS
        for rate, found, seconds in points:
            axes.errorbar(rate, 100 * found.value, sides(found), fmt="none", ecolor=colour, lw=0.7, zorder=1)
            axes.annotate(
                seconds.replace("s", " s"),
                (rate, 100 * found.value),
                xytext=(0, 8 if ours else -14),
                textcoords="offset points",
                ha="center",
                color=colour if ours else SOFT,
                fontsize=7.5,
            )
        rates, values = [rate for rate, _, _ in points], [100 * found.value for _, found, _ in points]
        axes.plot(rates, values, f"{mark}-", color=colour, ms=5, lw=2.2 if ours else 1.3, label=name, zorder=3)
    floor = results.accuracy(FLOOR, delay)
    if floor is not None:
        colour, width, dashes = LINES[FLOOR]
        axes.axhline(100 * floor.value, color=colour, lw=width, ls=dashes, label="edge only")
    axes.set_xlim(left=0)
    axes.set_xlabel("cloud calls a minute")
    axes.set_title(f"cloud's delay: {delay_label(delay)}")
    axes.grid(color=FAINT, lw=0.4)
    axes.legend(loc="best", fontsize=8)

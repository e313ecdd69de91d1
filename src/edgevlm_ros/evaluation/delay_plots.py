# SPDX-License-Identifier: Apache-2.0
"""Streaming accuracy against the cloud's delay: the picture that everything else explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from edgevlm_ros.evaluation.evidence_style import BLUE, GREY, LINES, MARKS, SOFT, png, sides, spread, title
from edgevlm_ros.evaluation.plots import FAINT, STYLE
from edgevlm_ros.evaluation.results import (
    ALL,
    BOUNDS,
    FLOOR,
    LIMIT,
    OURS,
    VARIANTS,
    Results,
    cloud_label,
    delay_label,
    policy_label,
    seconds_of,
    telling_delay,
)


def accuracy_over_delay(results: Results) -> bytes:
    """Streaming accuracy of every policy against the cloud's delay; delays that are no number are columns."""
    fixed = [delay for delay in results.delays if seconds_of(delay) is not None]
    other = [delay for delay in results.delays if delay not in fixed]
    policies = [policy for policy in results.policies if policy not in VARIANTS]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 4.9), layout="constrained")
        widths = [width for width, delays in ((1.0, fixed), (0.16 + 0.12 * len(other), other)) if delays]
        panels = figure.subplots(1, len(widths), sharey=True, squeeze=False, width_ratios=widths)[0]
        if fixed:
            _lines(panels[0], results, policies, fixed, ALL)
            _name_lines(panels[0], results, policies, fixed[-1], ALL)
        if other:
            _columns(panels[-1], results, policies, other)
        panels[0].set_ylabel("streaming accuracy, %")
        says, lead = gain_title(results)
        bands = any(row["ci95"] for row in results.rows())
        tint = {FLOOR, LIMIT} <= set(results.policies)
        title(
            figure,
            says,
            lead
            + ("Bands: 95 %, bootstrap over scenes. " if bands else "")
            + ("Tint: what transfer with one view and no memory could gain." if tint else ""),
        )
        return png(figure)


def accuracy_by_dataset(results: Results) -> bytes:
    """The same for each dataset, with the names of edgeVLM and the bounds only."""
    named = [dataset for dataset in results.datasets if dataset != ALL]
    fixed = [delay for delay in results.delays if seconds_of(delay) is not None] or results.delays
    policies = [policy for policy in results.policies if policy not in VARIANTS]
    with matplotlib.rc_context(STYLE):
        rows = -(-len(named) // 4)
        figure = Figure(figsize=(2.3 * min(len(named), 4) + 0.6, 2.5 * rows + 0.5), layout="constrained")
        panels = figure.subplots(rows, min(len(named), 4), sharex=True, sharey=True, squeeze=False).flat
        for axes, dataset in zip(panels, named, strict=False):
            _lines(axes, results, policies, fixed, dataset)
            axes.set_title(dataset)
        for axes in list(panels)[len(named) :]:
            axes.set_visible(False)
        figure.supylabel("streaming accuracy, %", fontsize=9)
        title(
            figure,
            "Each task by itself",
            "Blue: edgeVLM. Dashed: edge only, cloud without delay. Dotted: limit of transfer, one view, no memory. "
            "Grey: the others.",
        )
        return png(figure)


def _lines(axes: Any, results: Results, policies: Sequence[str], delays: Sequence[str], dataset: str) -> None:
    seconds = [seconds_of(delay) for delay in delays]
    tint: dict[str, list[float]] = {}
    for policy in policies:
        points = [
            (at, found)
            for at, delay in zip(seconds, delays, strict=True)
            if (found := results.accuracy(policy, delay, dataset))
        ]
        if not points:
            continue
        colour, width, dashes = LINES.get(policy, (GREY, 1.2, "-"))
        times = [at for at, _ in points]
        front = 5 if policy == OURS else 2
        mark = None if policy in (FLOOR, *BOUNDS) else MARKS.get(policy, "o")
        values = [100 * found.value for _, found in points]
        if mark is None and len(points) == 1:
            axes.axhline(values[0], ls=dashes, color=colour, lw=width, zorder=front)
        axes.plot(
            times, values, dashes, color=colour, lw=width, marker=mark, ms=5 if policy == OURS else 3.6, zorder=front
        )
        if all(found.interval for _, found in points):
            low, high = zip(*(found.interval for _, found in points), strict=True)  # type: ignore[misc]
            axes.fill_between(
                times,
                [100 * x for x in low],
                [100 * x for x in high],
                color=colour,
                alpha=0.2 if policy == OURS else 0.05,
                lw=0,
                zorder=front - 1,
            )
        if policy in (FLOOR, LIMIT):
            tint[policy] = values
    if len(tint) == 2 and len(tint[FLOOR]) == len(tint[LIMIT]):
        axes.fill_between(seconds, tint[FLOOR], tint[LIMIT], color=BLUE, alpha=0.07, lw=0, zorder=0)
    axes.set_xlabel("delay of the cloud, s")
    axes.set_xticks(seconds, [f"{at:g}" for at in seconds])
    axes.set_ylim(0, 102)
    axes.margins(x=0.02)
    axes.grid(axis="y", color=FAINT, lw=0.4)


def _name_lines(axes: Any, results: Results, policies: Sequence[str], delay: str, dataset: str) -> None:
    ends = [(100 * found.value, policy) for policy in policies if (found := results.accuracy(policy, delay, dataset))]
    places = spread([value for value, _ in ends], 3.9)
    last = seconds_of(delay)
    for (value, policy), place in zip(ends, places, strict=True):
        colour = LINES.get(policy, (SOFT, 0, ""))[0]
        axes.annotate(
            f"{policy_label(policy)}  {value:.0f}",
            (last, value),
            xytext=(1.035, place),
            textcoords=("axes fraction", "data"),
            color=colour,
            weight="bold" if policy == OURS else "normal",
            fontsize=10.5 if policy == OURS else 8.5,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": FAINT, "lw": 0.7, "shrinkA": 1, "shrinkB": 3},
        )


def _columns(axes: Any, results: Results, policies: Sequence[str], delays: Sequence[str]) -> None:
    others = [policy for policy in policies if policy not in (FLOOR, OURS, *BOUNDS)]
    for place, delay in enumerate(delays):
        for policy in policies:
            found = results.accuracy(policy, delay)
            if found is None:
                continue
            colour, _, dashes = LINES.get(policy, (GREY, 1.2, "-"))
            if policy in (FLOOR, *BOUNDS):
                axes.plot((place - 0.35, place + 0.35), [100 * found.value] * 2, dashes, color=colour, lw=1.3)
                continue
            side = 0.0 if policy == OURS else -0.3 + 0.6 * (others.index(policy) + 0.5) / len(others)
            axes.errorbar(
                place + side,
                100 * found.value,
                sides(found),
                fmt=MARKS.get(policy, "o"),
                color=colour,
                ms=6 if policy == OURS else 3.6,
                lw=1.6 if policy == OURS else 0.7,
                zorder=5 if policy == OURS else 2,
            )
    axes.set_xticks(range(len(delays)), [delay_label(delay).replace(" ", "\n") for delay in delays])
    axes.set_xlim(-0.6, len(delays) - 0.4)
    axes.set_xlabel("other delays")
    axes.grid(axis="y", color=FAINT, lw=0.4)


def gain_title(results: Results) -> tuple[str, str]:
    """What edgeVLM gains at the telling delay, and by how much it leads or trails the best of the others."""
    delay = telling_delay(results)
    gap = results.share_of_gap(OURS, delay)
    leads = {
        rival: lead
        for rival in results.competitors
        if rival != OURS and (lead := results.difference(OURS, rival, delay)) is not None
    }
    late = "Without delay" if seconds_of(delay) == 0 else f"With a {cloud_label(delay)}"
    if gap is None or not leads:
        return "Streaming accuracy by the cloud's delay", ""
    rival, lead = min(leads.items(), key=lambda each: each[1].value)
    gain = leads.get(FLOOR, lead).value
    closes = f"closes {100 * gap.value:.0f} % of the gap between edge and cloud"
    loses = f"loses {-100 * gain:.1f} points against edge only"
    way = "ahead of the next best" if lead.value >= 0 else "behind the best"
    sign = 1 if lead.value >= 0 else -1
    ends = sorted(100 * sign * end for end in lead.interval or ())
    within = f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends else ""
    return (
        f"{late}, edgeVLM {closes if gain >= 0 else loses}",
        f"and is {100 * sign * lead.value:.1f}{within} points {way}, {policy_label(rival)}. ",
    )

# SPDX-License-Identifier: Apache-2.0
"""What a byte buys, what each part is worth, and where edge and cloud agree: pictures beside the accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from edgevlm_ros.evaluation.evidence_style import BLUE, GREY, LINES, MARKS, SOFT, png, sides, spread, title
from edgevlm_ros.evaluation.plots import FAINT, INK, STYLE
from edgevlm_ros.evaluation.results import (
    ABLATIONS,
    ALL,
    BOUNDS,
    FLOOR,
    OURS,
    VARIANTS,
    Results,
    delay_label,
    policy_label,
    seconds_of,
    telling_delay,
)
from edgevlm_ros.words import clean_text


def accuracy_over_bytes(results: Results) -> bytes:
    """Streaming accuracy against what is uploaded, one panel for the telling delay and one for the longest."""
    rates = {(row["policy"], row["delay"]): row["bytes_up_per_s"] for row in results.rows() if row["dataset"] == ALL}
    delays = list(dict.fromkeys([telling_delay(results), _longest(results)]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6 * len(delays), 3.7), layout="constrained")
        for axes, delay in zip(figure.subplots(1, len(delays), sharey=True, squeeze=False)[0], delays, strict=True):
            _bytes_axes(axes, results, rates, delay)
        figure.axes[0].set_ylabel("streaming accuracy, %")
        title(
            figure,
            "What a byte to the cloud buys",
            "Bars: 95 %, bootstrap over scenes. Dashed: edge only, cloud without delay. "
            "Dotted: limit of transfer, one view, no memory.",
        )
        return png(figure)


def _bytes_axes(axes: Any, results: Results, rates: dict[tuple[str, str], float | None], delay: str) -> None:
    dots = []
    for policy in results.policies:
        found = results.accuracy(policy, delay)
        if found is None or policy in VARIANTS:
            continue
        colour, _, dashes = LINES.get(policy, (GREY, 1.2, "-"))
        if policy in BOUNDS or policy == FLOOR:
            axes.axhline(100 * found.value, color=colour, ls=dashes, lw=1.0, zorder=1)
        if policy in BOUNDS:
            continue
        rate = (rates.get((policy, delay)) or 0.0) / 1e3
        ours = policy == OURS
        axes.errorbar(
            rate,
            100 * found.value,
            sides(found),
            fmt=MARKS.get(policy, "o"),
            color=colour,
            ms=8 if ours else 5,
            lw=1.8 if ours else 0.8,
            zorder=5 if ours else 2,
        )
        dots.append((policy, rate, 100 * found.value))
    right = 1.15 * max((rate for _, rate, _ in dots), default=0.0) or 1.0
    axes.set_xlim(-0.04 * right, right)
    axes.set_ylim(0, 102)
    for (policy, rate, value), place in zip(dots, spread([value for _, _, value in dots], 5.0), strict=True):
        ours = policy == OURS
        axes.annotate(
            policy_label(policy),
            (rate, value),
            xytext=(1.02, place) if rate else (0.06, value + 3.5),
            textcoords=("axes fraction", "data"),
            color=LINES.get(policy, (SOFT, 0, ""))[0],
            va="center",
            weight="bold" if ours else "normal",
            fontsize=10 if ours else 8,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": FAINT, "lw": 0.7, "shrinkA": 1, "shrinkB": 5} if rate else None,
        )
    axes.set_xlabel("uploaded, kB/s")
    axes.set_title(f"cloud's delay: {delay_label(delay)}")
    axes.grid(color=FAINT, lw=0.4)


def ablations(results: Results) -> bytes:
    """What edgeVLM and each of its cut-down versions gain over the edge alone, paired by scene; a panel a delay."""
    policies = [policy for policy in (OURS, *ABLATIONS) if policy in results.policies]
    delays = [delay for delay in results.delays if seconds_of(delay)] or results.delays[:1]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.9 * len(delays) + 2.4, 0.42 * len(policies) + 1.3), layout="constrained")
        panels = figure.subplots(1, len(delays), sharex=True, sharey=True, squeeze=False)[0]
        for axes, delay in zip(panels, delays, strict=True):
            for place, policy in enumerate(policies):
                found = results.difference(policy, FLOOR, delay)
                if found is None:
                    continue
                value, colour = 100 * found.value, BLUE if policy == OURS else GREY
                axes.barh(
                    place,
                    value,
                    height=0.66,
                    color=colour,
                    zorder=2,
                    xerr=sides(found),
                    error_kw={"lw": 0.9, "ecolor": INK},
                )
                edge = 100 * max(found.value, found.high or 0.0, 0.0)
                axes.annotate(
                    f"{value:+.1f}", (edge, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5
                )
            axes.axvline(0, color=INK, lw=1.0)
            axes.set_title(delay_label(delay))
            axes.grid(axis="x", color=FAINT, lw=0.4)
            axes.margins(x=0.16)
        panels[0].set_yticks(range(len(policies)), [policy_label(policy) for policy in policies])
        panels[0].set_ylim(len(policies) - 0.5, -0.5)
        figure.supxlabel("points of streaming accuracy over edge only", fontsize=9)
        title(
            figure,
            "What each part of edgeVLM is worth",
            "By the cloud's delay. Bars: 95 % by bootstrap over scenes, paired.",
        )
        return png(figure)


def _longest(results: Results) -> str:
    return [delay for delay in results.delays if seconds_of(delay) is not None or delay == results.delays[0]][-1]


def agreement(lines: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> bytes:
    """How much of the time a policy says of a frame what the cloud says of it; a panel for each stream.

    lines: by stream and policy, points of agreement.over_time.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 1.5 * len(lines) + 1.1), layout="constrained")
        panels = figure.subplots(len(lines), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, (name, policies) in zip(panels, lines.items(), strict=True):
            for policy, points in policies.items():
                times, shares = [at for at, _ in points], [100 * share for _, share in points]
                colour = BLUE if policy == OURS else GREY
                axes.plot(times, shares, "o-", ms=3, color=colour, lw=1.8 if policy == OURS else 1.3)
            ends = [(100 * points[-1][1], policy) for policy, points in policies.items() if points]
            places = spread([value for value, _ in ends], 14.0)
            for (_, policy), place in zip(ends, places, strict=True):
                axes.annotate(
                    policy_label(policy),
                    (1.01, place),
                    xycoords=("axes fraction", "data"),
                    color=BLUE if policy == OURS else SOFT,
                    va="center",
                    annotation_clip=False,
                )
            axes.set_title(clean_text(name, 60))
            axes.set_ylim(-5, 105)
            axes.grid(axis="y", color=FAINT, lw=0.4)
        panels[-1].set_xlabel("seconds of the stream")
        figure.supylabel("same answer as the cloud's, % of frames", fontsize=9)
        title(
            figure, "Where the small model and the cloud agree", "On the same frame, however late the cloud's answer."
        )
        return png(figure)

# SPDX-License-Identifier: Apache-2.0
"""The regime map: which policy wins at which delay for facts of which lifetime, and where late answers are no use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from edgevlm_ros.evaluation.evidence_style import BLUE, SOFT, png, title
from edgevlm_ros.evaluation.lifetimes import BINS
from edgevlm_ros.evaluation.plots import INK, STYLE
from edgevlm_ros.evaluation.regimes import Cell, Part
from edgevlm_ros.evaluation.results import FLOOR, OURS, delay_label, policy_label

_COLOURS = {  # that the colour-blind can tell apart (Okabe and Ito, 2008)
    FLOOR: "#9ca3af",
    OURS: BLUE,
    "edge_centre_view": "#8b6f47",
    "edge_centre_memory": "#5b4636",
    "cloud_only": "#e69f00",
    "parallel_fuse": "#009e73",
    "offload_confidence": "#cc79a7",
    "offload_deadline": "#f0e442",
    "partitioned": "#d55e00",
    "speculative": "#56b4e9",
}
_OTHER = "#334155"
_ASKS = {
    "shortest": "how long the whole answer stays true",
    "longest": "how long a part of the answer stays true",
}
_STRONG = 0.3  # of accuracy: from this lead on the colour is full


def regime_map(maps: Mapping[Part, Sequence[Cell]]) -> bytes:
    """A panel for each map; see regimes.cells. At least one map has cells."""
    shown = {part: cells for part, cells in maps.items() if cells}
    delays = list(dict.fromkeys(cell.delay for cells in shown.values() for cell in cells))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(len(shown) * (0.86 * len(delays) + 0.8) + 0.2, 7.5), 4.6), layout="constrained")
        for axes, (part, cells) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
            for cell in cells:
                _draw(axes, cell, delays.index(cell.delay))
            axes.set_xlim(0, len(delays))
            axes.set_ylim(0, len(BINS))
            axes.set_xticks([at + 0.5 for at in range(len(delays))], [delay_label(delay) for delay in delays])
            axes.set_yticks([at + 0.5 for at in range(len(BINS))], BINS)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.set_xlabel("delay of the cloud")
            axes.set_title(_ASKS[part])
        figure.legend(handles=_legend(shown), loc="outside lower center", ncols=5, fontsize=8.5, handlelength=1.6)
        counted = "" if len(shown) == 1 else " Counted: the cells of the map on the left."
        below = f"Number: the winner's points of streaming accuracy over edge only.{counted}"
        title(figure, says(next(iter(shown.values()))), below)
        return png(figure)


def _draw(axes: Any, cell: Cell, column: int) -> None:
    x, y = column, cell.place
    if cell.winner is None or cell.lead is None:
        axes.add_patch(Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, fc="white", ec="#e2e8f0", lw=0.8))
        axes.text(
            x + 0.5,
            y + 0.5,
            "too few\nframes" if cell.truths else "–",
            ha="center",
            va="center",
            fontsize=7,
            color=SOFT,
        )
        return
    strength = 0.35 + 0.65 * min(max(cell.lead.value, 0.0) / _STRONG, 1.0)
    colour = _on_white(_COLOURS.get(cell.winner, _OTHER), 0.75 if cell.winner == FLOOR else strength)
    axes.add_patch(Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, fc=colour, lw=0))
    if not cell.transfer_helps and cell.transfer is not None:
        axes.add_patch(Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, fc="none", ec=(1, 1, 1, 0.75), hatch="////", lw=0))
    ink = "white" if _luminance(colour) < 0.5 else INK
    if cell.winner == FLOOR:
        axes.text(x + 0.5, y + 0.5, "edge\nonly", ha="center", va="center", fontsize=8, color=INK)
        return
    axes.text(
        x + 0.5,
        y + 0.58,
        f"{100 * cell.lead.value:+.0f}",
        ha="center",
        va="center",
        fontsize=13,
        weight="bold",
        color=ink,
    )
    name = policy_label(cell.winner).replace("offload by ", "")
    axes.text(x + 0.5, y + 0.25, name, ha="center", va="center", fontsize=7, color=ink)


def says(cells: Sequence[Cell]) -> str:
    """What a map amounts to."""
    known = [cell for cell in cells if cell.winner is not None]
    helped = sum(cell.transfer_helps for cell in known)
    won = sum(cell.winner == OURS for cell in known)
    return f"Late answers clearly help edgeVLM in {helped} of {len(known)} regimes; it is the best in {won}"


def _legend(shown: Mapping[Part, Sequence[Cell]]) -> list[Patch]:
    winners = {cell.winner for cells in shown.values() for cell in cells if cell.winner}
    order = [*_COLOURS, *sorted(winners - set(_COLOURS))]
    patches = [
        Patch(fc=_COLOURS.get(winner, _OTHER), label=policy_label(winner)) for winner in order if winner in winners
    ]
    return [
        *patches,
        Patch(
            fc="#e2e8f0",
            ec="white",
            hatch="////",
            lw=0,
            label="transfer does not help: edgeVLM not above edge only by more than the interval",
        ),
    ]


def _on_white(colour: str, strength: float) -> tuple[float, float, float]:
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def _luminance(colour: tuple[float, float, float]) -> float:
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue

# SPDX-License-Identifier: Apache-2.0
"""What the pictures of the evidence have in common: colours, titles that speak, labels that do not collide.

edgeVLM is blue in all of them and what it is held against is grey, with its name beside its line. What needs more
colours takes those that the colour-blind can tell apart (Okabe and Ito, "Color Universal Design", 2008). The same runs
give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.figure import Figure

from edgevlm_ros.evaluation.bootstrap import Estimate
from edgevlm_ros.evaluation.plots import INK
from edgevlm_ros.evaluation.results import CEILING, FLOOR, LIMIT, OURS

BLUE, ORANGE, SOFT, GREY = "#0072b2", "#d55e00", "#64748b", "#94a3b8"
"""edgeVLM and right; wrong; small print; what edgeVLM is held against."""

LINES = {  # colour, width, dashes; others are grey
    OURS: (BLUE, 2.6, "-"),
    FLOOR: (INK, 1.3, "--"),
    CEILING: (INK, 1.3, "--"),
    LIMIT: (BLUE, 1.3, ":"),
}
MARKS = {
    "edge_centre_view": "<",
    "edge_centre_memory": ">",
    "cloud_only": "s",
    "offload_confidence": "^",
    "offload_deadline": "v",
    "partitioned": "D",
    "speculative": "P",
    "parallel_fuse": "X",
    OURS: "o",
}
_DPI = 160


def spread(values: Sequence[float], least: float) -> list[float]:
    """Places near the values and at least so far from each other, in their order; for labels."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    groups: list[tuple[float, int]] = []  # (middle, members), from below
    for i in order:
        middle, members = values[i], 1
        while groups and middle - groups[-1][0] < least * (members + groups[-1][1]) / 2:
            below, count = groups.pop()
            middle, members = (middle * members + below * count) / (members + count), members + count
        groups.append((middle, members))
    places = [middle + least * (at - (members - 1) / 2) for middle, members in groups for at in range(members)]
    found = [0.0] * len(values)
    for i, place in zip(order, places, strict=True):
        found[i] = place
    return found


def title(figure: Figure, says: str, below: str) -> None:
    """What the picture says, and in a line below how to read it; axes get the room that is left."""
    height = figure.get_figheight()
    if figure.get_layout_engine() is not None:
        figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - 0.62 / height))
    figure.text(0.1 / figure.get_figwidth(), 1 - 0.06 / height, says, va="top", fontsize=12.5, weight="bold")
    figure.text(0.1 / figure.get_figwidth(), 1 - 0.33 / height, below, va="top", fontsize=8.5, color=SOFT)


def png(figure: Figure) -> bytes:
    """A PNG file, the same for the same figure: without a date or a version in it."""
    target = io.BytesIO()
    figure.savefig(
        target,
        format="png",
        dpi=_DPI,
        facecolor="white",
        bbox_inches="tight",
        pad_inches=0.12,
        metadata={"Software": None},
    )
    return target.getvalue()


def sides(found: Estimate) -> list[list[float]] | None:
    if found.low is None or found.high is None:
        return None
    return [[100 * (found.value - found.low)], [100 * (found.high - found.value)]]

# SPDX-License-Identifier: Apache-2.0
"""The ways of focusing that need nothing from the model: other pixels, or other words.

So they also serve a model behind a server, which takes images and text and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.geometry import best, clean_label
from edgevlm_ros.transfer.types import FocusMap, Image, Region

_TOLD_REGIONS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """What the model is shown. images: the frame, then its second view if there is one. pixel_share: as in
    edge.engine.Prompt. note: words for the end of the question, or ""."""

    images: tuple[Image, ...]
    pixel_share: float
    note: str


def compose(image: Image, focus: FocusMap | None, rule: Focus) -> Views:
    """The views of a frame under a focus; the frame itself, untouched, if there is none."""
    if focus is None:
        return Views((image,), 1.0, "")
    modes = rule.modes
    first = dimmed(image, focus.regions, rule.dim) if "overlay" in modes else image
    note = told(focus.regions, image.shape[1], image.shape[0]) if "text" in modes else ""
    if "crop" not in modes or focus.crop is None:
        return Views((first,), 1.0, note)
    x0, y0, x1, y1 = focus.crop
    return Views((first, np.ascontiguousarray(image[y0:y1, x0:x1])), min(rule.pixel_budget / 2, 1.0), note)


def dimmed(image: Image, regions: Sequence[Region], brightness: float) -> Image:
    """The image with all that lies outside the regions darkened. brightness: 0 (black) .. 1 (as it is)."""
    darkened = (image.astype(np.uint16) * round(256 * min(max(brightness, 0.0), 1.0)) >> 8).astype(np.uint8)
    for region in regions:
        rows = slice(int(region.y0), int(np.ceil(region.y1)))
        cols = slice(int(region.x0), int(np.ceil(region.x1)))
        darkened[rows, cols] = image[rows, cols]
    return darkened


def told(regions: Sequence[Region], width: int, height: int) -> str:
    """The regions in words, the surest first; corners in thousandths of the width and height."""
    boxes = ", ".join(
        f"{clean_label(region.label) or 'region'} ({_thousandths(region.x0, width)}, "
        f"{_thousandths(region.y0, height)}, {_thousandths(region.x1, width)}, {_thousandths(region.y1, height)})"
        for region in best(regions, _TOLD_REGIONS)
    )
    return f"Look at (x0, y0, x1, y1 in thousandths of the image): {boxes}" if boxes else ""


def _thousandths(value: float, side: int) -> int:
    return min(max(round(1000 * value / side), 0), 1000)

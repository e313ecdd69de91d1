# SPDX-License-Identifier: Apache-2.0
"""Boxes: making a stranger's usable, rasterising them on a grid, and the window of a zoomed second view."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.transfer.types import CloudContext, Region

MAX_REGIONS = 16
_MAX_LABEL_CHARS = 40
_MARKUP = frozenset("<>[]{}|｜\\`")


def cleaned(context: CloudContext) -> tuple[CloudContext, int]:
    """The context with regions that can be used, and how many could not be, or were too many.

    Boxes are clamped to the keyframe and their corners put in order. Without a size of the keyframe, no box means
    anything.
    """
    width, height = context.width, context.height
    clamped = (clamp(region, width, height) for region in context.regions if math.isfinite(region.score))
    usable = [replace(region, label=clean_label(region.label)) for region in clamped if region is not None]
    chosen = best(usable, MAX_REGIONS)
    return replace(context, regions=chosen), len(context.regions) - len(chosen)


def best(regions: Sequence[Region], most: int) -> tuple[Region, ...]:
    """The regions of the highest scores, best first, equals in their order."""
    return tuple(heapq.nsmallest(most, regions, key=lambda region: -region.score))


def clean_label(label: str) -> str:
    """One short printable line in which nothing can be chat markup."""
    kept = (c if c.isprintable() and c not in _MARKUP else " " for c in label[: 8 * _MAX_LABEL_CHARS])
    return " ".join("".join(kept).split())[:_MAX_LABEL_CHARS].rstrip()


def clamp(region: Region, width: int, height: int) -> Region | None:
    """The part of a region that lies on a width x height image, corners in order; None if there is none."""
    corners = (region.x0, region.y0, region.x1, region.y1)
    if not all(math.isfinite(value) for value in corners):
        return None
    x0, x1 = sorted((region.x0, region.x1))
    y0, y1 = sorted((region.y0, region.y1))
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    if x1 <= x0 or y1 <= y0:
        return None
    score = min(max(region.score, 0.0), 1.0) if math.isfinite(region.score) else 0.0
    return Region(region.label, score, x0, y0, x1, y1)


def rasterise(regions: Sequence[Region], width: int, height: int, rows: int, cols: int) -> NDArray[np.float32]:
    """How much of each cell of a (rows, cols) grid over the image is covered, times the region's score; maximum of all.

    Returns (rows, cols) float32 in 0..1.
    """
    grid = np.zeros((rows, cols), np.float32)
    x_edges = np.linspace(0.0, width, cols + 1)
    y_edges = np.linspace(0.0, height, rows + 1)
    for region in regions:
        x_cover = np.minimum(x_edges[1:], region.x1) - np.maximum(x_edges[:-1], region.x0)
        y_cover = np.minimum(y_edges[1:], region.y1) - np.maximum(y_edges[:-1], region.y0)
        cover = np.outer(np.clip(y_cover, 0, None) * rows / height, np.clip(x_cover, 0, None) * cols / width)
        np.maximum(grid, np.clip(cover * region.score, 0.0, 1.0).astype(np.float32), out=grid)
    return grid


def crop_box(
    regions: Sequence[Region], width: int, height: int, margin: float = 1.4, min_fraction: float = 0.3
) -> tuple[int, int, int, int]:
    """The window of a second view on the regions: x0, y0, x1, y1 in whole pixels of the image.

    Their union grown by margin, in the image's own aspect ratio so that both views make the same token grid, at least
    min_fraction of the image wide (a smaller one would only enlarge noise), moved to lie inside the image.
    """
    if not regions:
        raise ValueError("crop_box needs at least one region")
    x0 = min(region.x0 for region in regions)
    y0 = min(region.y0 for region in regions)
    x1 = max(region.x1 for region in regions)
    y1 = max(region.y1 for region in regions)
    scale = max((x1 - x0) * margin / width, (y1 - y0) * margin / height, min_fraction)
    scale = min(scale, 1.0)
    crop_width, crop_height = max(1, round(scale * width)), max(1, round(scale * height))
    left = min(max(round((x0 + x1 - crop_width) / 2), 0), width - crop_width)
    top = min(max(round((y0 + y1 - crop_height) / 2), 0), height - crop_height)
    return left, top, left + crop_width, top + crop_height

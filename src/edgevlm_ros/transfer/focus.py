# SPDX-License-Identifier: Apache-2.0
"""From regions on an old keyframe to a focus map on the current frame (visual focus).

The LVLM says where the answer was seen; by the time it is heard, the camera and the world have moved. A region is
trusted less the older it is, and no longer at all below a floor.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edgevlm_ros.transfer.geometry import clamp, crop_box, rasterise
from edgevlm_ros.transfer.types import CloudContext, FocusMap, Region

FocusMode = Literal["none", "attention", "crop"]
FOCUS_MODES: tuple[FocusMode, ...] = ("none", "attention", "crop")


@dataclass(frozen=True, slots=True)
class Focus:
    """How regions steer the model's eyes.

    mode: `attention` adds beta x map to the attention logits of the frame's visual tokens; `crop` shows the regions as
    a zoomed second view. half_life: seconds in which the confidence in a region halves. min_confidence: a region below
    it is forgotten. crop_margin, crop_min_fraction: see geometry.crop_box.
    """

    mode: FocusMode = "crop"
    beta: float = 1.0
    half_life: float = 4.0
    min_confidence: float = 0.2
    crop_margin: float = 1.4
    crop_min_fraction: float = 0.3


def carried(context: CloudContext, now: int, width: int, height: int, rule: Focus) -> tuple[Region, ...]:
    """The context's regions on a width x height frame of stamp `now`, pixels of that frame, scores aged.

    The regions stay where they were on the keyframe, scaled if the frame has another size.
    """
    if not context.width or not context.height or context.stamp > now:
        return ()
    x_scale, y_scale = width / context.width, height / context.height
    trust = 0.5 ** ((now - context.stamp) * 1e-9 / rule.half_life)
    moved = []
    for region in context.regions:
        scaled = replace(
            region,
            score=region.score * trust,
            x0=region.x0 * x_scale,
            x1=region.x1 * x_scale,
            y0=region.y0 * y_scale,
            y1=region.y1 * y_scale,
        )
        clamped = clamp(scaled, width, height)
        if clamped is not None and clamped.score >= rule.min_confidence:
            moved.append(clamped)
    return tuple(moved)


def focus_map(
    regions: Sequence[Region], stamp: int, width: int, height: int, grid: tuple[int, int], rule: Focus
) -> FocusMap | None:
    """The focus map of a width x height frame whose visual tokens make a (rows, cols) grid; None without regions.

    stamp: of the keyframe that the regions were seen on.
    """
    if rule.mode == "none" or not regions:
        return None
    crop = None
    if rule.mode == "crop":
        crop = crop_box(regions, width, height, rule.crop_margin, rule.crop_min_fraction)
    return FocusMap(rasterise(regions, width, height, *grid), tuple(regions), crop, stamp)

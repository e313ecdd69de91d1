# SPDX-License-Identifier: Apache-2.0
"""How regions of an old keyframe steer the model's eyes on the current frame (visual focus).

The LVLM says where the answer was seen; tracking says where that is by now. Here it becomes a map over the frame's
visual tokens and the window of a second view, for whichever ways of focusing are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgevlm_ros.transfer.geometry import crop_box, rasterise
from edgevlm_ros.transfer.types import FocusMap, Region

FOCUS_MODES = ("attention", "prune", "crop", "overlay", "text")
CARRY_MODES = ("flow", "features", "none")


def parse_modes(text: str) -> frozenset[str]:
    """The ways of focusing that a text names: "none", one of FOCUS_MODES, or several joined by +."""
    names = [name.strip() for name in text.split("+")]
    if names == ["none"]:
        return frozenset()
    unknown = [name for name in names if name not in FOCUS_MODES]
    if unknown:
        raise ValueError(
            f"focus mode {text!r}: {unknown[0]!r} is none of {', '.join(FOCUS_MODES)}; "
            "several are joined by +, and none stands alone"
        )
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class Focus:
    """How regions steer the model's eyes.

    mode: one or several of FOCUS_MODES, see parse_modes. `attention` adds beta x map to the attention logits of the
    frame's visual tokens; `prune` leaves the decoder the share `keep` of them; `crop` shows the regions as a zoomed
    second view, both views together within pixel_budget whole frames; `overlay` darkens the rest of the frame to the
    brightness `dim`; `text` tells the boxes in words. carry: one of CARRY_MODES, how regions follow what they are
    about. half_life: seconds in which the confidence in a region halves. min_confidence: a region below it is
    forgotten. crop_margin, crop_min_fraction: see geometry.crop_box.
    """

    mode: str = "crop"
    beta: float = 1.0
    keep: float = 0.5
    dim: float = 0.35
    pixel_budget: float = 2.0
    carry: str = "flow"
    half_life: float = 16.0
    min_confidence: float = 0.05
    crop_margin: float = 1.1
    crop_min_fraction: float = 0.3

    def __post_init__(self) -> None:
        parse_modes(self.mode)
        if self.carry not in CARRY_MODES:
            raise ValueError(f"focus carry {self.carry!r} is none of {', '.join(CARRY_MODES)}")

    @property
    def modes(self) -> frozenset[str]:
        return parse_modes(self.mode)


def focus_map(
    regions: Sequence[Region], stamp: int, width: int, height: int, grid: tuple[int, int], rule: Focus
) -> FocusMap | None:
    """The focus map of a width x height frame whose visual tokens make a (rows, cols) grid; None without regions.

    regions: pixels of that frame. stamp: of the keyframe that they were seen on.
    """
    modes = rule.modes
    if not modes or not regions:
        return None
    crop = crop_box(regions, width, height, rule.crop_margin, rule.crop_min_fraction) if "crop" in modes else None
    return FocusMap(rasterise(regions, width, height, *grid), tuple(regions), crop, stamp)

# SPDX-License-Identifier: Apache-2.0
"""Boxes in the markup that models were taught to ground with, from before they wrote JSON.

- `<ref>cart</ref><box>[[125, 250, 375, 500]]</box>` (InternVL), `<box>(125,250),(375,500)</box>` (Qwen-VL),
  `<|object_ref_start|>cart<|object_ref_end|><|box_start|>(125,250),(375,500)<|box_end|>` (Qwen2-VL): left, top, right,
  lower, counted as the family counts.
- `<|begin_of_box|>[[94,598,177,991]]<|end_of_box|>` (GLM-4.5V, GLM-4.6V): the same order; the mark stands around other
  final answers too, which are left as they are.
- `<loc0256><loc0128><loc0512><loc0384> cart` (PaliGemma): top, left, lower, right, in 1024 bins.
- `cart<loc_125><loc_250><loc_375><loc_500>` (Florence-2): left, top, right, lower, in 1000 bins.

Points (Molmo) are not read: they say where a thing is and not how large, and the eyes of a small model need both.
"""

import re
from dataclasses import dataclass

_BOX = re.compile(
    r"(?:(?:<ref>|<\|object_ref_start\|>)(?P<label>[^<>]{0,200})(?:</ref>|<\|object_ref_end\|>)\s{0,8})?"
    r"(?:<box>|<\|box_start\|>|<\|begin_of_box\|>)(?P<corners>[-\d.,\s()\[\]]{1,400})"
    r"(?:</box>|<\|box_end\|>|<\|end_of_box\|>)"
)
_PALIGEMMA = re.compile(r'(?P<corners>(?:<loc\d{4}>){4})[ \t]{0,8}(?P<label>[^<>;\n{}\[\]"]{0,200})')
_FLORENCE = re.compile(r'(?P<label>[^<>\n{}\[\]"]{0,200})(?P<corners>(?:<loc_\d{1,3}>){4})')
_NUMBER = re.compile(r"-?\d{1,6}(?:\.\d{1,6})?")


@dataclass(frozen=True, slots=True)
class MarkedBox:
    """corners: left, top, right, lower. bins: what the image's edges are called; None if as the family counts."""

    label: str
    corners: tuple[float, float, float, float]
    bins: float | None


def marked_boxes(text: str) -> tuple[list[MarkedBox], str]:
    """The boxes in a text, in order for each kind of markup, and the text with their labels alone."""
    found: list[MarkedBox] = []
    if "box" in text:
        text = _taken(_BOX, None, text, found)
    if "<loc" in text:
        text = _taken(_FLORENCE, 1000.0, _taken(_PALIGEMMA, 1024.0, text, found), found)
    return found, text


def _taken(pattern: re.Pattern[str], bins: float | None, text: str, found: list[MarkedBox]) -> str:
    """The text without the boxes of one kind of markup, which are added to those found."""

    def take(match: re.Match[str]) -> str:
        label = (match["label"] or "").strip()
        numbers = [float(number) for number in _NUMBER.findall(match["corners"])]
        for at in range(0, len(numbers) - 3, 4):
            x0, y0, x1, y1 = numbers[at : at + 4]
            if pattern is _PALIGEMMA:
                x0, y0, x1, y1 = y0, x0, y1, x1
            found.append(MarkedBox(label, (x0, y0, x1, y1), bins))
        return f" {label} "

    return pattern.sub(take, text)

# SPDX-License-Identifier: Apache-2.0
"""Boxes in the markup that models were taught to ground with, from before they wrote JSON.

- `<ref>cart</ref><box>[[125, 250, 375, 500]]</box>` (InternVL), `<box>(125,250),(375,500)</box>` (Qwen-VL),
  `<|object_ref_start|>cart<|object_ref_end|><|box_start|>(125,250),(375,500)<|box_end|>` (Qwen2-VL): left, top, right,
  lower, counted as the family counts.
- `<|begin_of_box|>[[94,598,177,991]]<|end_of_box|>` (GLM-4.5V, GLM-4.6V): the same order; the mark stands around other
  final answers too, which are left as they are.
- `<|ref|>cart<|/ref|><|det|>[[125,250,375,500]]<|/det|>` (DeepSeek-VL2): the same order, in 0 to 999.
- `<loc0256><loc0128><loc0512><loc0384> cart` (PaliGemma): top, left, lower, right, in 1024 bins.
- `cart<loc_125><loc_250><loc_375><loc_500>` (Florence-2): left, top, right, lower, in 1000 bins.
- `<point x="61.5" y="40.4" alt="cart">cart</point>` (Molmo): percent. A point says where a thing is and not how large,
  and the eyes of a small model need both: it is a box without extent, for which there is no use, and counts as one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_REF = (
    r"(?:(?:<ref>|<\|object_ref_start\|>|<\|ref\|>)(?P<label>[^<>]{0,200})"
    r"(?:</ref>|<\|object_ref_end\|>|<\|/ref\|>)\s{0,8})?"
)
_CORNERS = r"(?P<corners>[-\d.,\s()\[\]]{1,400})"
_BOX = re.compile(
    rf"{_REF}(?:<box>|<\|box_start\|>|<\|begin_of_box\|>){_CORNERS}(?:</box>|<\|box_end\|>|<\|end_of_box\|>)"
)
_DET = re.compile(rf"{_REF}<\|det\|>{_CORNERS}<\|/det\|>")
_PALIGEMMA = re.compile(r'(?P<corners>(?:<loc\d{4}>){4})[ \t]{0,8}(?P<label>[^<>;\n{}\[\]"]{0,200})')
_FLORENCE = re.compile(r'(?P<label>[^<>\n{}\[\]"]{0,200})(?P<corners>(?:<loc_\d{1,3}>){4})')
_POINT = re.compile(r"<points?(?P<corners>[^<>]{0,4000})>(?P<label>[^<>]{0,200})</points?>")
_COORDINATE = re.compile(r"\b[xy]\d{0,3}=\\?[\"'](\d{1,3}(?:\.\d{1,6})?)\\?[\"']")
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
    if "<|det|>" in text:
        text = _taken(_DET, 999.0, text, found)
    if "<point" in text:
        text = _taken(_POINT, 100.0, text, found)
    if "<loc" in text:
        text = _taken(_FLORENCE, 1000.0, _taken(_PALIGEMMA, 1024.0, text, found), found)
    return found, text


def _taken(pattern: re.Pattern[str], bins: float | None, text: str, found: list[MarkedBox]) -> str:
    """The text without the boxes of one kind of markup, which are added to those found."""

    def take(match: re.Match[str]) -> str:
        label = (match["label"] or "").strip()
        found.extend(MarkedBox(label, corners, bins) for corners in _corners(pattern, match["corners"]))
        return f" {label} "

    return pattern.sub(take, text)


def _corners(pattern: re.Pattern[str], text: str) -> Iterator[tuple[float, float, float, float]]:
    numbers = map(float, (_COORDINATE if pattern is _POINT else _NUMBER).findall(text))
    if pattern is _POINT:
        for x, y in zip(numbers, numbers, strict=False):
            yield x, y, x, y
    for x0, y0, x1, y1 in zip(*[numbers] * 4, strict=False):
        yield (y0, x0, y1, x1) if pattern is _PALIGEMMA else (x0, y0, x1, y1)

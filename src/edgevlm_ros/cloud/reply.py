# SPDX-License-Identifier: Apache-2.0
"""What an LVLM said, read as an answer and regions of interest on the keyframe.

A reply is a stranger's text: it becomes part of another model's prompt and is drawn on an operator's screen. So it is
data and nothing else: chat markup and control characters go, lengths and boxes are bounded, and what is not certain
is left out rather than guessed:

- JSON is found anywhere in the reply (alone, fenced, in prose); stray and missing commas are forgiven, and of a
  truncated object the members that were complete are kept. An answer that was cut off is no answer.
- Without an answer in the JSON, or without JSON, the prose is the answer if it is no longer than an answer may be.
  Longer prose is an essay by a model that ignored the instruction: `ReplyError`. Any language will do.
- Boxes are read as they were asked for, or by the markup that a family has of its own. One that lies outside of the
  image, or whose name is that of another convention, tells that the model counts in another way than was asked: then
  none of the reply's boxes is believed, for those that happen to lie inside are as wrong.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgevlm_ros.cloud.loose_json import json_values
from edgevlm_ros.cloud.marked_boxes import MarkedBox, marked_boxes
from edgevlm_ros.transfer.types import Region
from edgevlm_ros.words import clean_text, without_thoughts

MAX_REPLY_CHARS = 32_768
"""More than this is not read: 256 tokens are about 1000 characters."""
_MAX_LABEL_CHARS = 48
_MIN_SIDE = 2.0
"""Pixels of the keyframe: a thinner box holds nothing that could be looked at."""
_BEYOND = 0.05
"""Of the image: a box at its edge reaches over by a little, one that is counted in another way by far."""
_MEMBERS = {False: ("bbox_2d", "bbox", "box"), True: ("box_2d", "bbox", "box")}
"""Names of a box in JSON, by whether y stands before x. bbox_2d and box_2d each belong to one order."""
_Corners = tuple[float, float, float, float]


class ReplyError(ValueError):
    """There is no answer in a reply; the message says what there is."""


class _Foreign(Exception):
    """A box that was counted in another way than was asked for."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and regions in pixels of the keyframe.

    regions_dropped: boxes that could not be used, or too many. regions_foreign: of these, those that show that the
    model counts in another way; with one of them all regions are dropped.
    """

    text: str
    regions: tuple[Region, ...]
    regions_dropped: int
    regions_foreign: int = 0


def parse_reply(
    reply: str,
    *,
    width: int,
    height: int,
    extent: tuple[float, float] = (1000.0, 1000.0),
    rows_first: bool = False,
    max_regions: int = 8,
    max_chars: int = 200,
) -> Reply:
    """Read a reply about a keyframe of width x height pixels.

    extent, rows_first: what the model calls the right and the lower edge, and whether y stands before x, see
    `grounding.Convention`. Raises ReplyError only.
    """
    body, is_thought_open = without_thoughts(reply[:MAX_REPLY_CHARS])
    marked, body = marked_boxes("" if is_thought_open else body)
    found, prose = _find_json(body)
    members = found if isinstance(found, dict) else {"regions": found or []}
    text = clean_text(_as_text(members.get("answer")), max_chars)
    if not text:
        text = _prose_answer(prose, max_chars)
    if not text:
        raise ReplyError(f"no answer in the reply: {clean_text(reply[:400], 80)!r}")
    boxes = _as_boxes(members.get("regions")) or marked
    regions, foreign = [], 0
    for box in boxes:
        try:
            shares = _shares(box, extent, rows_first)
        except _Foreign:
            foreign += 1
        else:
            regions += [region] if (region := _region(box, shares, width, height)) else []
    kept = () if foreign else tuple(regions[:max_regions])
    return Reply(text, kept, len(boxes) - len(kept), foreign)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.12g}" if math.isfinite(value) else ""
    if isinstance(value, list):
        return ", ".join(filter(None, (_as_text(v) for v in value if not isinstance(v, list))))
    return value if isinstance(value, str) else ""


def _as_boxes(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) else []


def _shares(box: Any, extent: tuple[float, float], rows_first: bool) -> _Corners | None:
    """Left, top, right and lower edge as fractions of the image; None if the box is none. Raises _Foreign."""
    corners = _corners(box, rows_first)
    if corners is None:
        return None
    if isinstance(box, MarkedBox) and box.bins is not None:
        extent = (box.bins, box.bins)
    shares = tuple(corner / extent[at % 2] for at, corner in enumerate(corners))
    if not all(-_BEYOND <= share <= 1.0 + _BEYOND for share in shares):
        raise _Foreign
    x0, x1 = sorted(min(max(share, 0.0), 1.0) for share in shares[0::2])
    y0, y1 = sorted(min(max(share, 0.0), 1.0) for share in shares[1::2])
    return x0, y0, x1, y1


def _corners(box: Any, rows_first: bool) -> Sequence[float] | None:
    """x, y, x, y of a box as the model counts; None if it is no box. Raises _Foreign for another convention's name."""
    if isinstance(box, MarkedBox):
        if rows_first and box.bins is None:
            raise _Foreign
        return box.corners
    if not isinstance(box, dict):
        return None
    name = next((name for name in _MEMBERS[rows_first] if name in box), None)
    if name is None:
        if _MEMBERS[not rows_first][0] in box:
            raise _Foreign
        return None
    corners = box[name]
    if isinstance(corners, list) and len(corners) == 1:  # [[x0, y0, x1, y1]]
        corners = corners[0]
    if not isinstance(corners, list) or len(corners) != 4:
        return None
    if not all(isinstance(c, float) and math.isfinite(c) for c in corners):
        return None
    return [corners[at] for at in (1, 0, 3, 2)] if rows_first else corners


def _region(box: Any, shares: _Corners | None, width: int, height: int) -> Region | None:
    """One region in pixels of the keyframe, or None if there is nothing to be seen in it."""
    if shares is None:
        return None
    x0, y0, x1, y1 = (share * side for share, side in zip(shares, (width, height, width, height), strict=True))
    if x1 - x0 < _MIN_SIDE or y1 - y0 < _MIN_SIDE:
        return None
    members: dict[str, Any] = {"label": box.label} if isinstance(box, MarkedBox) else box
    score = members.get("score", 1.0)
    valid_score = isinstance(score, float) and 0.0 <= score <= 1.0
    label = members.get("label")
    name = clean_text(label, _MAX_LABEL_CHARS) if isinstance(label, str) else ""
    return Region(name, score if valid_score else 1.0, x0, y0, x1, y1)


def _prose_answer(prose: str, max_chars: int) -> str:
    """The words around the JSON, if they are short enough to be an answer."""
    text = clean_text(prose.replace("```json", " ").replace("```", " "), len(prose))
    is_answer = len(text) <= max_chars and any(c.isalnum() for c in text) and not set(text) & set("{}[]")
    return text if is_answer else ""


def _find_json(body: str) -> tuple[Any, str]:
    """The object with an answer, else the first one with regions, else None; and the text without it."""
    best: tuple[Any, str] = (None, body)
    for start, end, value in json_values(body):
        prose = body[:start] + " " + body[end:]
        if isinstance(value, dict) and "answer" in value:
            return value, prose
        holds_regions = isinstance(value, dict) and "regions" in value
        lists_regions = isinstance(value, list) and any(isinstance(v, dict) for v in value)
        if best[0] is None and (holds_regions or lists_regions):
            best = (value, prose)
    return best

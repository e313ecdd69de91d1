# SPDX-License-Identifier: Apache-2.0
"""What an LVLM said, read as an answer and regions of interest on the keyframe.

A reply is a stranger's text: it becomes part of another model's prompt and is drawn on an operator's screen. So it is
data and nothing else: chat markup and control characters go, lengths and boxes are bounded, and what is not certain
is left out rather than guessed:

- JSON is found anywhere in the reply (alone, fenced, in prose), in any dialect that json_repair reads; the last object
  that answers counts. Of an object that the text breaks off, the members that were complete are kept. An answer that
  was cut off is no answer.
- Where no object has an answer, the prose is it, if it is no longer than an answer may be, and nothing says that it was
  cut off: the server, JSON without an end, markup without an end. Longer prose is an essay by a model that ignored the
  instruction: `ReplyError`. Any language will do.
- Boxes are read as they were asked for, or by the markup that a family has of its own. One that lies outside of the
  image, or whose name is that of another convention, tells that the model counts in another way than was asked: then
  none of the reply's boxes is believed, for those that happen to lie inside are as wrong. What is not used is counted.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgevlm_ros.cloud.loose_json import JsonValue, json_values
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
_MAX_DEPTH = 4
"""Of an answer within other objects, and of lists within a box."""
_LISTS = ("regions", "objects", "boxes", "detections", "bboxes", "boundingboxes")
"""Names of the list of regions, without regard to case and underscores, like the following."""
_BOXES = {False: ("bbox2d", "bbox", "box", "boundingbox"), True: ("box2d", "bbox", "box", "boundingbox")}
"""Names of a box, by whether y stands before x. bbox_2d and box_2d each belong to one order."""
_EDGES = (
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
)
"""Names of the edges of a box, in the order x, y, x, y."""
_POINTS = ("point2d", "point")
"""Names of a point, which has no extent: it is counted."""
_LABELS = ("label", "name", "class")
_BROKEN_MARKUP = re.compile(
    r"<[^<>\s]{0,64}\Z|<\|?(?:ref|box|det|object_ref_start|box_start|begin_of_box|points?)\b[^<]{0,300}\Z"
)
_Corners = tuple[float, float, float, float]


class ReplyError(ValueError):
    """There is no answer in a reply; the message says what there is. regions_dropped: boxes that go with it."""

    def __init__(self, message: str, regions_dropped: int = 0) -> None:
        super().__init__(message)
        self.regions_dropped = regions_dropped


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
    cut: bool = False,
    max_regions: int = 8,
    max_chars: int = 200,
) -> Reply:
    """Read a reply about a keyframe of width x height pixels.

    extent, rows_first: what the model calls the right and the lower edge, and whether y stands before x, see
    `grounding.Convention`. cut: the server says that the model did not come to its end. Raises ReplyError only.
    """
    body, is_thought_open = without_thoughts(reply[:MAX_REPLY_CHARS])
    marked, body = marked_boxes("" if is_thought_open else body)
    values = list(json_values(body))
    found = _with_the_reply(values)
    answering = _answering(found.members) if found else None
    boxes: list[Any] = (_listed(_answering(found.value)) or _listed(found.value) if found else []) or marked
    regions, foreign = _read_boxes(boxes, width, height, extent, rows_first)
    count = len(regions) + foreign
    kept = () if foreign else tuple(filter(None, regions))[:max_regions]
    is_broken = cut or any(value.is_broken for value in values)
    text = ""
    if answering:
        text = clean_text(_as_text(answering["answer"]), max_chars)
    elif not is_broken and not any(isinstance(v.members, dict) and "answer" in v.members for v in values):
        text = _prose_answer(body[: found.start] + " " + body[found.end :] if found else body, max_chars)
    if not text:
        more = (f", but {count} boxes" if count else "") + (", and it breaks off" if is_broken else "")
        raise ReplyError(f"no answer in the reply{more}: {clean_text(reply[:400], 60)!r}", count)
    return Reply(text, kept, count - len(kept), foreign)


def _with_the_reply(values: list[JsonValue]) -> JsonValue | None:
    """The last value with an answer, else the first one with regions."""
    answered = next((v for v in reversed(values) if _answering(v.members)), None)
    return answered or next((v for v in values if _listed(v.value)), None)


def _answering(value: Any, depth: int = 0) -> dict[str, Any] | None:
    """The object with an answer in a value, the last one if there are several."""
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, dict):
        if clean_text(_as_text(value.get("answer")), 1):
            return value
        value = list(value.values())
    inner = (_answering(v, depth + 1) for v in reversed(value)) if isinstance(value, list) else ()
    return next(filter(None, inner), None)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        number = _number(value)
        return "" if number is None else f"{number:.12g}"
    if isinstance(value, list):
        return ", ".join(filter(None, (_as_text(v) for v in value if not isinstance(v, list))))
    return value if isinstance(value, str) else ""


def _prose_answer(prose: str, max_chars: int) -> str:
    """The words around the JSON, if they are whole and short enough to be an answer."""
    text = clean_text(prose.replace("```json", " ").replace("```", " "), len(prose))
    is_answer = len(text) <= max_chars and any(c.isalnum() for c in text) and not set(text) & set("{}[]")
    is_broken = prose.count("```") % 2 or _BROKEN_MARKUP.search(prose)
    return text if is_answer and not is_broken else ""


def _listed(value: Any, depth: int = 0) -> list[Any]:
    """What stands for regions in an object, by name or by what it holds, or in a list without an object."""
    if isinstance(value, list):
        return [v for v in value if not _answering(v)] if any(map(_is_box, value)) else []
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        return []
    members = _by_plain_name(value)
    named = next((members[name] for name in _LISTS if members.get(name)), None)
    if isinstance(named, list):
        return [named] if all(_number(v) is not None for v in named) else named
    if isinstance(named, dict | str):
        return [named] if isinstance(named, dict) or any(map(str.isdigit, named)) else []
    if _is_box(value):
        return [value]
    return next(filter(None, (_listed(v, depth + 1) for v in value.values())), [])


def _is_box(value: Any) -> bool:
    members = _by_plain_name(value) if isinstance(value, dict) else {}
    names = _BOXES[False] + _BOXES[True] + _POINTS
    return any(name in members for name in names) or any(set(edges) <= set(members) for edges in _EDGES)


def _read_boxes(
    boxes: list[Any], width: int, height: int, extent: tuple[float, float], rows_first: bool
) -> tuple[list[Region | None], int]:
    """A region for each box, None for what is none, and how many show another way of counting."""
    regions: list[Region | None] = []
    foreign = 0
    for box in boxes:
        bins = box.bins if isinstance(box, MarkedBox) else None
        try:
            for corners in _rectangles(box, rows_first):
                shares = corners and _shares(corners, (bins, bins) if bins else extent)
                regions.append(_region(box, shares, width, height) if shares else None)
        except _Foreign:
            foreign += 1
    return regions, foreign


def _rectangles(box: Any, rows_first: bool) -> list[_Corners | None]:
    """x, y, x, y as the model counts, None for what is no box. Raises _Foreign for another convention's name."""
    if isinstance(box, MarkedBox):
        if rows_first and box.bins is None:
            raise _Foreign
        return [box.corners]
    if isinstance(box, dict):
        members = _by_plain_name(box)
        name = next((name for name in _BOXES[rows_first] if name in members), None)
        if name is None and _BOXES[not rows_first][0] in members:
            raise _Foreign
        box = members[name] if name else box
    if isinstance(box, dict):
        members = _by_plain_name(box)
        edges = next((tuple(_number(members[n]) for n in names) for names in _EDGES if set(names) <= set(members)), ())
        return [_corners(edges)]
    if isinstance(box, str):
        box = box.strip("[]() \n").replace(",", " ").split()
    return [c and ((c[1], c[0], c[3], c[2]) if rows_first else c) for c in _from_lists(box)]


def _from_lists(value: Any, depth: int = 0) -> list[_Corners | None]:
    """[a, b, c, d] and [[a, b], [c, d]] are one box, [[a, b, c, d], ...] are several."""
    if not isinstance(value, list) or depth > _MAX_DEPTH:
        return [None]
    if value and all(isinstance(v, list) for v in value):
        if [len(v) for v in value] == [2, 2]:
            value = value[0] + value[1]
        else:
            inner = [corners for v in value for corners in _from_lists(v, depth + 1)]
            return inner if any(inner) else [None]
    return [_corners([_number(v) for v in value])]


def _corners(numbers: Sequence[float | None]) -> _Corners | None:
    whole = [n for n in numbers if n is not None]
    return (whole[0], whole[1], whole[2], whole[3]) if len(whole) == len(numbers) == 4 else None


def _number(value: Any) -> float | None:
    """A finite number, or a text that is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _shares(corners: _Corners, extent: tuple[float, float]) -> _Corners:
    """Left, top, right and lower edge as fractions of the image. Raises _Foreign."""
    shares = tuple(corner / extent[at % 2] for at, corner in enumerate(corners))
    if not all(-_BEYOND <= share <= 1.0 + _BEYOND for share in shares):
        raise _Foreign
    x0, x1 = sorted(min(max(share, 0.0), 1.0) for share in shares[0::2])
    y0, y1 = sorted(min(max(share, 0.0), 1.0) for share in shares[1::2])
    return x0, y0, x1, y1


def _region(box: Any, shares: _Corners, width: int, height: int) -> Region | None:
    """One region in pixels of the keyframe, or None if there is nothing to be seen in it."""
    x0, y0, x1, y1 = (share * side for share, side in zip(shares, (width, height, width, height), strict=True))
    if x1 - x0 < _MIN_SIDE or y1 - y0 < _MIN_SIDE:
        return None
    if isinstance(box, MarkedBox):
        members: dict[str, Any] = {"label": box.label}
    else:
        members = _by_plain_name(box) if isinstance(box, dict) else {}
    label = next((members[name] for name in _LABELS if isinstance(members.get(name), str)), "")
    score = _number(members.get("score"))
    return Region(
        clean_text(label, _MAX_LABEL_CHARS), score if score is not None and 0 <= score <= 1 else 1.0, x0, y0, x1, y1
    )


def _by_plain_name(value: dict[str, Any]) -> dict[str, Any]:
    """Members of an object by their names in lower case and without what joins words: boundingBox, bounding_box."""
    return {re.sub("[^a-z0-9]", "", str(name).lower()): member for name, member in value.items()}

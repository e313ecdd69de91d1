# SPDX-License-Identifier: Apache-2.0
"""What an LVLM said, read as an answer and regions of interest on the keyframe.

A reply is a stranger's text: it becomes part of another model's prompt and is drawn on an operator's screen. So it is
data and nothing else: chat markup and control characters go, lengths and boxes are bounded, and what is not certain
is left out rather than guessed:

- JSON is found anywhere in the reply (alone, fenced, in prose); stray and missing commas are forgiven, and of a
  truncated object the members that were complete are kept. An answer that was cut off is no answer.
- Without an answer in the JSON, or without JSON, the prose is the answer if it is no longer than an answer may be.
  Longer prose is an essay by a model that ignored the instruction: `ReplyError`.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgevlm_ros.transfer.types import Region
from edgevlm_ros.words import clean_text

MAX_REPLY_CHARS = 32_768
"""More than this is not read: 256 tokens are about 1000 characters."""
_MAX_DEPTH = 8
_MAX_STARTS = 16
_MAX_LABEL_CHARS = 48
_OPENING = re.compile(r"[{\[]")
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_MIN_SIDE = 2.0
"""Pixels of the keyframe: a thinner box holds nothing that could be looked at."""


class ReplyError(ValueError):
    """There is no answer in a reply; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and regions in pixels of the keyframe. regions_dropped: boxes that could not be used, or too many."""

    text: str
    regions: tuple[Region, ...]
    regions_dropped: int


def parse_reply(
    reply: str,
    *,
    width: int,
    height: int,
    extent: tuple[float, float] = (1000.0, 1000.0),
    max_regions: int = 8,
    max_chars: int = 200,
) -> Reply:
    """Read a reply about a keyframe of width x height pixels.

    extent: what the model calls the right and the lower edge, see `prompt.box_extent`. Raises ReplyError only.
    """
    body = _without_thoughts(reply[:MAX_REPLY_CHARS])
    found, prose = _find_json(body)
    members = found if isinstance(found, dict) else {"regions": found or []}
    text = clean_text(_as_text(members.get("answer")), max_chars)
    if not text:
        text = _prose_answer(prose, max_chars)
    if not text:
        raise ReplyError(f"no answer in the reply: {clean_text(reply[:400], 80)!r}")
    boxes = _as_boxes(members.get("regions"))
    regions = [region for box in boxes if (region := _region(box, width, height, extent)) is not None]
    kept = tuple(regions[:max_regions])
    return Reply(text=text, regions=kept, regions_dropped=len(boxes) - len(kept))


def _without_thoughts(reply: str) -> str:
    """Drop what a reasoning model thought aloud before it answered; of a thought that never ends nothing is left."""
    thought, ended, rest = reply.partition("</think>")
    if ended:
        return rest
    return "" if thought.lstrip().startswith("<think>") else reply


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


def _region(box: Any, width: int, height: int, extent: tuple[float, float]) -> Region | None:
    """One region in pixels of the keyframe, or None if the box is not a box."""
    if not isinstance(box, dict):
        return None
    corners = next((box[key] for key in ("bbox_2d", "bbox", "box") if key in box), None)
    if not isinstance(corners, list) or len(corners) != 4:
        return None
    if not all(isinstance(c, float) and math.isfinite(c) for c in corners):
        return None
    x0, x1 = sorted(min(max(c / extent[0], 0.0), 1.0) * width for c in corners[0::2])
    y0, y1 = sorted(min(max(c / extent[1], 0.0), 1.0) * height for c in corners[1::2])
    if x1 - x0 < _MIN_SIDE or y1 - y0 < _MIN_SIDE:
        return None
    score = box.get("score", 1.0)
    valid_score = isinstance(score, float) and 0.0 <= score <= 1.0
    label = box.get("label")
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
    for start, end, value in _json_values(body):
        prose = body[:start] + " " + body[end:]
        if isinstance(value, dict) and "answer" in value:
            return value, prose
        holds_regions = isinstance(value, dict) and "regions" in value
        lists_regions = isinstance(value, list) and any(isinstance(v, dict) for v in value)
        if best[0] is None and (holds_regions or lists_regions):
            best = (value, prose)
    return best


def _json_values(body: str) -> Iterator[tuple[int, int, Any]]:
    """(start, end, value) of each object and array in a text that reads as JSON."""
    position = 0
    for _ in range(_MAX_STARTS):
        opening = _OPENING.search(body, position)
        if opening is None:
            return
        reader = _Reader(body, opening.start())
        try:
            value = reader.value()
        except (_NotJson, _Cut):
            position = opening.end()
        else:
            position = reader.position
            yield opening.start(), position, value


class _NotJson(Exception):
    """What follows is not JSON."""


class _Cut(Exception):
    """The text ended inside a scalar."""


class _Reader:
    """A JSON reader that forgives commas and an early end. Numbers are floats."""

    _SPACE = re.compile(r"[\s,]*")
    _STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
    _ATOM = re.compile(r"[-+.\w]+")
    _NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")

    def __init__(self, text: str, position: int) -> None:
        self.text = text
        self.position = position
        self.cut = False

    def value(self, depth: int = 0) -> Any:
        first = self._peek()
        if first == "":
            raise _Cut
        if depth > _MAX_DEPTH:
            raise _NotJson
        if first == "{":
            return self._object(depth)
        if first == "[":
            return self._array(depth)
        return self._string() if first == '"' else self._atom()

    def _object(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        self.position += 1
        try:
            while not self.cut and not self._closed("}"):
                if self._peek() != '"':
                    raise _NotJson
                name = self._string()
                if self._peek() not in (":", ""):
                    raise _NotJson
                self.position += 1
                members[name] = self.value(depth + 1)
        except _Cut:
            self.cut = True
        return members

    def _array(self, depth: int) -> list[Any]:
        items: list[Any] = []
        self.position += 1
        try:
            while not self.cut and not self._closed("]"):
                items.append(self.value(depth + 1))
        except _Cut:
            self.cut = True
        return items

    def _peek(self) -> str:
        space = self._SPACE.match(self.text, self.position)
        self.position = space.end() if space else self.position
        return self.text[self.position : self.position + 1]

    def _closed(self, bracket: str) -> bool:
        following = self._peek()
        if following == "":
            raise _Cut
        if following == bracket:
            self.position += 1
        return following == bracket

    def _string(self) -> str:
        match = self._STRING.match(self.text, self.position)
        if match is None:
            raise _Cut
        self.position = match.end()
        try:
            return str(json.loads(f'"{match[1]}"', strict=False))
        except ValueError as error:
            raise _NotJson from error

    def _atom(self) -> Any:
        match = self._ATOM.match(self.text, self.position)
        if match is None:
            raise _NotJson
        if match.end() == len(self.text):
            raise _Cut
        self.position = match.end()
        if match[0] in _WORDS:
            return _WORDS[match[0]]
        if match[0] in ("NaN", "Infinity", "-Infinity"):
            return math.nan
        if self._NUMBER.fullmatch(match[0]) is None:
            raise _NotJson
        return float(match[0])

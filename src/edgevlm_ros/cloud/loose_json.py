# SPDX-License-Identifier: Apache-2.0
"""JSON as models write it: somewhere in a text, with a comma too many or too few, and sometimes without an end."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

_MAX_DEPTH = 8
_MAX_STARTS = 16
_OPENING = re.compile(r"[{\[]")
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}


def json_values(body: str) -> Iterator[tuple[int, int, Any]]:
    """(start, end, value) of each object and array in a text that reads as JSON; the first 16 brackets are tried."""
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

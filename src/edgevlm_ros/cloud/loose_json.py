# SPDX-License-Identifier: Apache-2.0
"""JSON as models write it: somewhere in a text, in a dialect of its own, and sometimes without an end.

A value that is closed is read by json, or else as json_repair reads it. Of one that the text breaks off, the members
and items that were complete are read, by json alone: json_repair would complete the last one by a guess.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import json_repair

_MAX_STARTS = 16
_MAX_DEPTH = 64
_MAX_REPAIR, _MAX_BRACKETS = 4096, 128
"""Characters and brackets of a text that json_repair gets: its time grows with the square of both, 8 s for 32 kB."""
_OPENING = re.compile(r"\{|\[(?=\s{0,20}[\[\]{\"'“\d-])")
_CLOSING = {"{": "}", "[": "]"}
_ASCII = str.maketrans("＂＇：，｛｝［］", "\"':,{}[]")  # one character for one: positions stay
# A quote ends a string where punctuation follows: "say "hello" now" and 'it's open' are one string each.
_INNER = r"(?!\s{0,20}[,:}\]])"
_SINGLE = r"(?:(?<=[{\[,:])|(?<=[{\[,:]\s))'"
_TOKEN = re.compile(
    rf"\"(?:[^\"\\]|\\.|\"{_INNER})*\"|“[^”]*”|{_SINGLE}(?:[^'\\]|\\.|'{_INNER})*'|[{{}}\[\],]|[\"“]|{_SINGLE}",
    re.DOTALL,
)
_CURLY, _CURLY_KEY = str.maketrans("“”", '""'), re.compile(r"[{\[\s]{1,20}“")  # json_repair ends “a, b” at the comma
_COMMAS = re.compile(r",(?:\s{0,20},)+")  # json_repair reads 1,, as "1,"
_STRICT = json.JSONDecoder(strict=False, parse_int=float)


@dataclass(frozen=True, slots=True)
class JsonValue:
    """An object or an array, in text[start:end]; None where neither reader makes sense of it.

    is_broken: the text ends within it. Then value holds what was complete, and parts of what was not; members holds
    only members and items that were complete.
    """

    start: int
    end: int
    value: Any
    members: Any
    is_broken: bool = False


def json_values(text: str) -> Iterator[JsonValue]:
    """The outermost objects and arrays in a text; the first 16 brackets are tried."""
    ascii_text, position = text.translate(_ASCII), 0
    for _ in range(_MAX_STARTS):
        opening = _OPENING.search(ascii_text, position)
        if opening is None:
            return
        start = opening.start()
        try:
            value, position = _STRICT.raw_decode(text, start)
        except (ValueError, RecursionError):
            found = _lenient(ascii_text, start)
            position = found.end
        else:
            found = JsonValue(start, position, value, value)
        yield found


def _lenient(text: str, start: int) -> JsonValue:
    """The value that begins at a bracket and that json alone does not read."""
    brackets: list[str] = []  # that would close those that are open
    shallow, deep, depth = start, start, 0  # where what was complete ends, and how many brackets are open there
    for token in _TOKEN.finditer(text, start):
        piece = token[0]
        if piece in _CLOSING:
            brackets.append(_CLOSING[piece])
            if len(brackets) > _MAX_DEPTH:
                break
        elif piece in brackets:
            while brackets.pop() != piece:
                pass
            if not brackets:
                value = _repaired(text[start : token.end()])
                return JsonValue(start, token.end(), value, value)
            deep, depth = token.end(), len(brackets)
        elif piece == ",":
            deep, depth = token.start(), len(brackets)
        elif piece in ('"', "'", "“"):
            break
        shallow = deep if depth == 1 else shallow
    value = _strict(text[start:deep] + "".join(reversed(brackets[:depth])))
    return JsonValue(start, len(text), value, _strict(text[start:shallow] + brackets[0]), is_broken=True)


def _repaired(text: str) -> Any:
    if len(text) > _MAX_REPAIR or sum(map(text.count, "{[(")) > _MAX_BRACKETS:
        return None
    text = _TOKEN.sub(_double_quoted, text.translate(_CURLY) if _CURLY_KEY.match(text) else text)
    try:
        return json_repair.loads(_COMMAS.sub(",", text))
    except Exception:  # whatever a stranger's text does to it
        return None


def _double_quoted(token: re.Match[str]) -> str:
    """A string in single quotes in double ones: of 'it's' json_repair keeps the last quote."""
    if len(token[0]) == 1 or token[0][0] != "'":
        return token[0]
    return '"' + re.sub(r"(?<!\\)\"", r"\"", token[0][1:-1].replace(r"\'", "'")) + '"'


def _strict(text: str) -> Any:
    try:
        return _STRICT.decode(text)
    except (ValueError, RecursionError):
        return None

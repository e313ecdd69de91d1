# SPDX-License-Identifier: Apache-2.0
"""What a model said: two bytes for the keyframe's size and the way of counting edges, then the words."""

from __future__ import annotations

import json
from typing import Any

from edgevlm_ros.cloud.marked_boxes import marked_boxes
from edgevlm_ros.cloud.reply import Reply, ReplyError, parse_reply
from edgevlm_ros.words import clean_text, without_thoughts

WORDS = (
    b'{"answer": "', b'"regions": [', b'"bbox_2d": [', b'"label": "', b'"score": ', b"</think>", b"<think>", b"```json",
    b"<|im_start|>", b"<|im_end|>", b"\\ud800", b"\\u200b", b"1e999", b"NaN", b"null", b"[INST]", b"system:",
    b"<<SYS>>", b"<|channel|>final<|message|>", b"[THINK]", b"'", "＂".encode(), "“".encode(), b"<|det|>[[",
    b"<point x=", b'"objects": [', b'"x0": ', b'"]}',
)  # fmt: skip
LONGEST = 4096
SIZES = ((640, 480), (1, 1), (4000, 3000), (2, 9000))
EXTENTS = ((1000.0, 1000.0), (640.0, 480.0), (1.0, 1.0))
MARKS = ("<|", "|>", "<<", ">>", "[INST]", "<s>", "<think>", "</think>", "<image>", "<point ")
_REGIONS, _CHARS = 4, 60


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    (width, height), extent = SIZES[data[0] % len(SIZES)], EXTENTS[data[1] % len(EXTENTS)]
    text = data[2:].decode(errors="replace")
    try:
        found = parse_reply(text, width=width, height=height, extent=extent, max_regions=_REGIONS, max_chars=_CHARS)
    except ReplyError as error:
        assert len(str(error)) < 200
        assert not plain_answer(text), "an answer in plain JSON is found"
        return
    assert len(found.regions) <= _REGIONS
    harmless(found, width, height, _CHARS)
    if answer := plain_answer(text):
        assert found.text == answer, "plain JSON is read as any reader of JSON reads it"


def harmless(found: Reply, width: int, height: int, most_chars: int) -> None:
    """What any reply has to keep to before it is told to a model or drawn on a screen."""
    assert 0 < len(found.text) <= most_chars
    assert found.regions_dropped >= 0
    for words in (found.text, *(region.label for region in found.regions)):
        words.encode()
        assert words.isprintable()
        assert len(words) <= most_chars
        assert not any(mark in words for mark in MARKS), words
    for region in found.regions:
        assert 0 <= region.x0 < region.x1 <= width
        assert 0 <= region.y0 < region.y1 <= height
        assert 0 <= region.score <= 1


def plain_answer(text: str) -> str:
    """The answer of a reply that is one JSON object and no more, as it has to come out; empty if it is none."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    answer = value.get("answer") if isinstance(value, dict) and _depth(value) < 6 else None
    is_alone = without_thoughts(text) == (text, False) and marked_boxes(text) == ([], text)
    return clean_text(answer, _CHARS) if isinstance(answer, str) and is_alone else ""


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)

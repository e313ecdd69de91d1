# SPDX-License-Identifier: Apache-2.0
"""A chat completion as it streams in from an OpenAI-compatible server, and what may be told of it meanwhile."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from edgevlm_ros.cloud.completion import Message, as_dict, as_list, first_choice
from edgevlm_ros.cloud.failures import Server
from edgevlm_ros.endpoint import redacted
from edgevlm_ros.words import without_thoughts

_HALF_MARK = re.compile(r"(?:<\|channel\|?>\s{0,4}\w{0,12}|[<\[◁][^>\]▷\s]{0,40})\Z")
"""What may become the mark of a thought with the next piece."""


def events(texts: Iterable[str]) -> Iterator[str]:
    """The data of each server-sent event, one line in this API; other fields and comments are left out.

    Of a body that is plain JSON, although a stream was asked for, all of it. Lines end at a line feed only: httpx's
    iter_lines and str.splitlines also cut at characters that JSON may hold.
    """
    held: list[str] = []  # of a line that has not ended
    is_json: bool | None = None
    for text in texts:
        if is_json is None and text.strip():
            is_json = text.lstrip().startswith(("{", "["))
        *lines, rest = [text] if is_json else text.split("\n")
        if lines:
            lines[0] = "".join(held) + lines[0]
            held.clear()
        yield from filter(None, map(_data, lines))
        held.append(rest)
    rest = "".join(held)
    if is_json or _is_whole(_data(rest)):
        yield rest if is_json else _data(rest)


def _data(line: str) -> str:
    field, _, value = line.partition(":")
    if field == "error":  # older servers of llama.cpp
        return f'{{"error": {value}}}'
    return value.strip() if field == "data" else ""


def _is_whole(data: str) -> bool:
    """Whether an event without its end of line is whole all the same."""
    try:
        return data == "[DONE]" or bool(json.loads(data))
    except (ValueError, RecursionError):
        return False


class StreamedAnswer:
    """What has come of an answer.

    most_chars: of what the model says, thoughts included, that are told. begins_thinking: the model is known to begin
    with a thought whose beginning is in the prompt, so that nothing is told before its end.
    """

    def __init__(self, server: Server, most_chars: int, begins_thinking: bool = False) -> None:
        self.message = Message(server)
        self.begins_thinking = begins_thinking
        self._most_chars = most_chars
        self._content = self._emitted = self._text = ""
        self._is_thinking = begins_thinking
        self._log_probabilities: list[float] = []

    @property
    def began(self) -> bool:
        return bool(self._content)

    @property
    def so_far(self) -> str:
        """The answer without thoughts, of a message that may go on."""
        return "" if self._is_thinking else self._text[: self._most_chars].strip()

    @property
    def confidence(self) -> float:
        """Geometric mean of the known probabilities of the answer's tokens, NaN if none is."""
        known = self._log_probabilities
        return math.exp(math.fsum(known) / len(known)) if known else math.nan

    def whole(self) -> str:
        """The answer of a message that has ended. Raises NoAnswer or Unparsable."""
        text = self.message.answer(structured=False)[: self._most_chars].strip()
        if self._is_thinking and self.message.cut:
            raise self.message.only_thoughts()
        self._is_thinking = False
        self.begins_thinking = self.begins_thinking and self._text != self._content
        return text

    def add(self, chunk: dict[str, Any]) -> str:
        """Takes in one chunk of the stream; returns what may be told now. Raises Unparsable.

        Once a thought ends that did not seem to be one, its end is told too, by which words.without_thoughts knows it.
        """
        piece = self.message.add(chunk)
        for token in as_list(as_dict(first_choice(chunk).get("logprobs")).get("content")):
            value = as_dict(token).get("logprob")
            if isinstance(value, int | float) and abs(value) < 1e5:
                self._log_probabilities.append(min(0.0, value))
        if not piece or len(self._content) >= self._most_chars:
            return ""
        self._content += piece
        self._text, is_open = without_thoughts(self._content)
        self._is_thinking = is_open or (self.begins_thinking and self._text == self._content)
        if self._is_thinking or not self._text.strip():
            self._log_probabilities.clear()
        tellable = "" if self._is_thinking else _HALF_MARK.sub("", self._text)
        if not self._text.startswith(self._emitted):
            self.begins_thinking, self._emitted = True, ""
            return "</think>" + self._tell(tellable)
        return self._tell(tellable)

    def rest(self) -> str:
        """What is left to tell when nothing more comes."""
        return "" if self._is_thinking else self._tell(self._text)

    def _tell(self, text: str) -> str:
        new = text[len(self._emitted) :]
        self._emitted += new
        return new


class WordByWord:
    """An answer as it may be told while it comes: piece by piece, or, where a key must not be told, word by word.

    A server may say the key in pieces, each of which tells a part of it; there is no space in a key.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._held = ""

    def add(self, piece: str) -> str:
        """What may be told now."""
        if not self._key:
            return piece
        words, space, self._held = (self._held + piece).rpartition(" ")
        return redacted(words + space, self._key)

    def rest(self) -> str:
        """What is left to tell when nothing more comes."""
        held, self._held = self._held, ""
        return redacted(held, self._key)

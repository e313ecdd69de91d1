# SPDX-License-Identifier: Apache-2.0
"""A chat completion as it streams in from an OpenAI-compatible server, whose chunks are a stranger's JSON."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from edgevlm_ros.endpoint import redacted


def events(chunks: Iterable[bytes]) -> Iterator[str]:
    """The data of each server-sent event, one line in this API; other fields and comments are left out.

    Lines end at a line feed only: httpx's iter_lines and str.splitlines also cut at characters that JSON may hold.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip().decode("utf-8", errors="replace")


class StreamedAnswer:
    """What has come of an answer. Servers leave out or set to null whatever they do not know.

    finished: whether the server has said why it ended. prompt_tokens, reused_tokens: 0 if unknown.
    """

    def __init__(self) -> None:
        self.finished = False
        self.prompt_tokens = self.reused_tokens = 0
        self._pieces: list[str] = []
        self._log_probabilities: list[float] = []
        self._thought = False

    @property
    def text(self) -> str:
        return "".join(self._pieces).strip()

    @property
    def confidence(self) -> float:
        """Geometric mean of the known probabilities of tokens, NaN if none is."""
        known = self._log_probabilities
        return math.exp(math.fsum(known) / len(known)) if known else math.nan

    @property
    def only_thoughts(self) -> bool:
        """Whether it is over and all that came was a reasoning model's thinking aloud."""
        return self.finished and self._thought and not self._pieces

    def add(self, chunk: dict[str, Any]) -> str:
        """Takes in one chunk of the stream; returns the new text."""
        usage = _dict(chunk.get("usage"))
        self.prompt_tokens = _count(usage.get("prompt_tokens")) or self.prompt_tokens
        cached = _count(_dict(usage.get("prompt_tokens_details")).get("cached_tokens"))
        self.reused_tokens = cached or self.reused_tokens
        choice = _dict(next(iter(_list(chunk.get("choices"))), None))
        for token in _list(_dict(choice.get("logprobs")).get("content")):
            value = _dict(token).get("logprob")
            if isinstance(value, int | float) and abs(value) < 1e5:
                self._log_probabilities.append(min(0.0, value))
        self.finished = self.finished or isinstance(choice.get("finish_reason"), str)
        delta = _dict(choice.get("delta"))
        self._thought = self._thought or bool(delta.get("reasoning_content") or delta.get("reasoning"))
        piece = delta.get("content")
        if not isinstance(piece, str) or not piece:
            return ""
        self._pieces.append(piece)
        return piece


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


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: Any) -> int:
    return value if type(value) is int and 0 < value < 2**32 else 0

# SPDX-License-Identifier: Apache-2.0
"""What the model will probably answer: what it answered to the same question on the frame before.

An engine that puts such a draft behind the prompt learns in one pass whether it is right, and how far; what is right
need not be decoded token by token.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence

_DIGIT = re.compile(r"\d")


class Drafts:
    """The last answer to each of the last few questions of each camera, as token ids without an end token."""

    def __init__(self, capacity: int = 16) -> None:
        self._capacity = capacity
        self._answers: dict[str, OrderedDict[str, tuple[int, ...]]] = {}

    def get(self, question: str, camera: str = "") -> tuple[int, ...]:
        """Empty for a question that has not been asked of late."""
        answers = self._answers.get(camera)
        return answers.get(_key(question), ()) if answers else ()

    def put(self, question: str, tokens: Sequence[int], camera: str = "") -> None:
        """Remembers an answer in place of the one before."""
        key, answers = _key(question), self._answers.setdefault(camera, OrderedDict())
        answers[key] = tuple(tokens)
        answers.move_to_end(key)
        while len(answers) > self._capacity:
            answers.popitem(last=False)


def agreed(draft: Sequence[int], tokens: Sequence[int]) -> int:
    """How many tokens of a draft the answer begins with."""
    pairs = enumerate(zip(draft, tokens, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(draft), len(tokens)))


def _key(question: str) -> str:
    """The same for questions that differ in seconds passed or pixels of a box: they differ so from frame to frame."""
    return _DIGIT.sub("", question)

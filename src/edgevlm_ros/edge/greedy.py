# SPDX-License-Identifier: Apache-2.0
"""Greedy decoding behind a prompt that has been prefilled, in a loop of our own rather than in `generate`.

So tokens stream, an answer can be stopped within one token, and probabilities come for free. How one token gives the
next is the business of Steps.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from edgevlm_ros.edge.engine import OnToken, Stop
from edgevlm_ros.edge.kv_cache import set_back


class NoNumbers(ArithmeticError):
    """The model computed NaN or infinity."""


class Steps(Protocol):
    """The decoder behind one prompt."""

    def next(self, token: int, before: int) -> tuple[int, float]:
        """What is chosen behind a token of the answer, and the logarithm of its probability.

        before: how many tokens of the answer come before this one. They have been seen, what else has been is wrong.
        """


class GrowingSteps:
    """Steps on a cache that grows with each token.

    forward: logits (vocabulary,) behind a token id with so many of the answer's tokens before it. length: of the prompt
    in the cache.
    """

    def __init__(self, forward: Callable[[int, int], Tensor], cache: Any, length: int) -> None:
        self._forward = forward
        self._cache = cache
        self._length = length

    def next(self, token: int, before: int) -> tuple[int, float]:
        if self._cache.get_seq_length() > self._length + before:  # the rest of a wrong draft
            set_back(self._cache, self._length + before)
        return chosen(self._forward(token, before)[None])[0]


def chosen(logits: Tensor) -> list[tuple[int, float]]:
    """The most probable token of each row (n, vocabulary), and the logarithm of its probability.

    A NaN or +infinity anywhere in a row makes that NaN. The device is waited for once.
    """
    return [(int(token), score) for token, score in choice(logits).tolist()]


def choice(logits: Tensor) -> Tensor:
    """As chosen, on the device: (n, 2) float64."""
    scores = torch.log_softmax(logits.float(), -1)
    tokens = scores.argmax(-1, keepdim=True)
    return torch.cat([tokens.double(), scores.gather(-1, tokens).double()], -1)


def answered(
    logits: Tensor,
    draft: Sequence[int],
    steps: Steps,
    tokenizer: Any,
    ends: frozenset[int],
    most: int,
    on_token: OnToken | None = None,
    stop: Stop | None = None,
) -> tuple[list[int], float]:
    """The answer's tokens, and the geometric mean of the probabilities of all that were chosen.

    logits: behind the prompt and behind each token of the draft, (1 + draft, vocabulary): as long as the draft says
    what the model does, they tell what comes next. ends: tokens that end an answer. most: tokens of the longest one.
    Raises NoNumbers.
    """
    tokens: list[int] = []
    known, guessed = deque(chosen(logits)), deque(draft)
    log_probability, scored, told = 0.0, 0, ""
    while True:
        token, score = known.popleft()
        if not math.isfinite(score):
            raise NoNumbers
        log_probability += score
        scored += 1
        if token in ends:
            break
        tokens.append(token)
        if on_token is not None:
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            if not text.endswith("\ufffd"):  # half a character: wait for its other bytes
                on_token(text[len(told) :])
                told = text
        if len(tokens) >= most or (stop is not None and stop()):
            break
        if guessed and token == guessed.popleft():
            continue
        known.clear()
        guessed.clear()
        known.append(steps.next(token, len(tokens) - 1))
    if on_token is not None and (rest := tokenizer.decode(tokens, skip_special_tokens=True)[len(told) :]):
        on_token(rest)
    return tokens, math.exp(log_probability / scored)

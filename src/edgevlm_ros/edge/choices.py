# SPDX-License-Identifier: Apache-2.0
"""Closed questions: the probability of every allowed answer from one forward pass, rather than one answer by decoding.

The answers stand behind the prompt as a tree of tokens, where those that begin alike share what they begin with. Each
token attends to the prompt and to its own ancestors only, and its position is its depth: to the model every answer
stands there alone. An answer's probability includes that of its end, so 'left' and 'left aisle' can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgevlm_ros.words import clean_text

MOST_CHOICES = 64
MOST_CHARACTERS = 80


def checked_choices(choices: Sequence[str]) -> tuple[str, ...]:
    """The allowed answers as they are told: a line each, without chat markup. Raises ValueError for what cannot be."""
    if len(choices) > MOST_CHOICES:
        raise ValueError(f"choices has {len(choices)} answers: at most {MOST_CHOICES} can be weighed in one pass")
    cleaned: list[str] = []
    for choice in choices:
        text = clean_text(choice, len(choice))
        if not text:
            raise ValueError(f"choices has {choice!r}: an answer needs words that can be read, chat markup aside")
        if len(text) > MOST_CHARACTERS:
            start = f"{text[:20]}..."
            raise ValueError(f"choices has {start!r} of {len(text)} characters: at most {MOST_CHARACTERS} are allowed")
        if text in cleaned:
            raise ValueError(f"choices has {text!r} twice, chat markup and spaces aside: each answer once")
        cleaned.append(text)
    if len(cleaned) == 1:
        raise ValueError(f"choices has only {cleaned[0]!r}: give two answers or more, or none to allow any")
    return tuple(cleaned)


@dataclass(frozen=True, slots=True)
class TokenTree:
    """N tokens, parents before children.

    parents: index of each token's parent, -1 for those directly behind the prompt. paths: for each choice the indices
    of its tokens, from the first to the last.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]

    @property
    def depths(self) -> tuple[int, ...]:
        """How many of the answer's tokens stand before each token."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(0 if parent < 0 else depths[parent] + 1)
        return tuple(depths)

    def ancestry(self) -> Tensor:
        """(N, N) bool: whether the token of the row is behind the one of the column, or is it."""
        own = torch.eye(len(self.tokens), dtype=torch.bool)
        for index, parent in enumerate(self.parents):
            if parent >= 0:
                own[index] |= own[parent]
        return own

    def mask(self, past: int, queries: int) -> Tensor:
        """(1, 1, queries, past + queries) bool, true where a query may attend; the tree's tokens are the last ones.

        past: keys in the cache.
        """
        allowed = torch.ones(queries, past + queries, dtype=torch.bool).tril(past)
        count = len(self.tokens)
        allowed[queries - count :, past + queries - count :] = self.ancestry()
        return allowed[None, None]

    def scores(self, logits: Tensor, ends: Sequence[int]) -> Tensor:
        """Logarithms of the choices' probabilities among all texts, (choices,) float32 on the CPU.

        logits: behind the prompt and behind each token of the tree, (1 + N, vocabulary). ends: tokens that end an
        answer, whichever of them.
        """
        norms = torch.logsumexp(logits.float(), -1)
        of_tokens = logits[[1 + parent for parent in self.parents], list(self.tokens)].float()
        of_tokens = (of_tokens - norms[[1 + parent for parent in self.parents]]).cpu()
        of_ends = (torch.logsumexp(logits[:, list(ends)].float(), -1) - norms).cpu()
        return torch.stack([of_tokens[list(path)].sum() + of_ends[1 + path[-1]] for path in self.paths])


def token_tree(answers: Sequence[Sequence[int]]) -> TokenTree:
    """The tree of the choices' token ids, none of them empty."""
    indices: dict[tuple[int, ...], int] = {}
    parents: list[int] = []
    for answer in answers:
        for length in range(1, len(answer) + 1):
            beginning = tuple(answer[:length])
            if beginning not in indices:
                indices[beginning] = len(parents)
                parents.append(indices.get(beginning[:-1], -1))
    paths = tuple(tuple(indices[tuple(answer[:length])] for length in range(1, len(answer) + 1)) for answer in answers)
    return TokenTree(tuple(beginning[-1] for beginning in indices), tuple(parents), paths)

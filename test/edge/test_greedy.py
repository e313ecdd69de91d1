# SPDX-License-Identifier: Apache-2.0
"""What the engine's tests do not see: rows of logits, and what the steps are asked."""

from __future__ import annotations

import math

import pytest
import torch

from edgevlm_ros.edge.greedy import NoNumbers, answered, chosen
from edgevlm_ros.edge.random_models import build

VOCABULARY = 16


def says(*tokens: int) -> torch.Tensor:
    """Logits (n, vocabulary) whose most probable tokens these are, with probability e / (e + 15)."""
    return torch.nn.functional.one_hot(torch.tensor(tokens), VOCABULARY).float()


class Script:
    """Steps that say what they are told to, and remember what they were asked."""

    def __init__(self, *tokens: int) -> None:
        self._tokens = list(tokens)
        self.asked: list[tuple[int, int]] = []

    def next(self, token: int, before: int) -> tuple[int, float]:
        self.asked.append((token, before))
        return self._tokens[len(self.asked) - 1], -1.0


def greedy(logits: torch.Tensor, draft: tuple[int, ...], steps: Script) -> list[int]:
    _, processor = build("tiny-llava")
    return answered(logits, draft, steps, processor.tokenizer, frozenset({0}), most=6)[0]


def test_the_first_of_equals_is_chosen_with_its_probability() -> None:
    [(token, score), other] = chosen(torch.stack([torch.zeros(VOCABULARY), says(5)[0]]))
    assert token == 0
    assert score == pytest.approx(-math.log(VOCABULARY))
    assert other[0] == 5


def test_a_right_draft_is_not_decoded_again_and_what_follows_it_is() -> None:
    steps = Script(8, 0)
    assert greedy(says(3, 4, 7), (3, 4), steps) == [3, 4, 7, 8]
    assert steps.asked == [(7, 2), (8, 3)]


def test_behind_the_first_wrong_token_nothing_of_a_draft_counts() -> None:
    steps = Script(0)
    assert greedy(says(3, 9, 7), (3, 4), steps) == [3, 9]
    assert steps.asked == [(9, 1)]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_no_number_anywhere_in_a_row_that_is_read_is_told(bad: float) -> None:
    logits = says(3)
    logits[0, 9] = bad
    with pytest.raises(NoNumbers):
        greedy(logits, (), Script())

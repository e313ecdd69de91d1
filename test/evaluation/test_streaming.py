# SPDX-License-Identifier: Apache-2.0
"""Streaming accuracy: what was known at the time it was true."""

from __future__ import annotations

import pytest

from edgevlm_ros.evaluation.streaming import (
    Published,
    Truth,
    judge,
    matches,
    normalised,
    right_parts,
    score,
    score_by_question,
)
from edgevlm_ros.transfer.types import Question

WHERE = Question("Where is the person?")
CART = Question("What does the cart carry, and where is it?")


def said(published: int, text: str, question: Question = WHERE) -> Published:
    return Published(published, question, text)


def true(stamp: int, answer: str, question: Question = WHERE) -> Truth:
    return Truth(stamp, question, answer)


def test_the_newest_answer_published_by_then_is_scored() -> None:
    answers = [said(10, "left"), said(20, "right"), said(30, "left")]
    verdicts = judge([true(9, "left"), true(19, "left"), true(20, "right"), true(29, "left")], answers)
    assert [verdict.answer.text if verdict.answer else None for verdict in verdicts] == [None, "left", "right", "right"]
    assert [verdict.exact for verdict in verdicts] == [0, 1, 1, 0]


def test_before_the_first_answer_it_is_a_miss() -> None:
    result = score(judge([true(1, "left"), true(5, "left")], [said(3, "left")]))
    assert result is not None
    assert (result.count, result.missed, result.exact) == (2, 1, 0.5)


def test_an_answer_to_another_question_says_nothing() -> None:
    verdicts = judge([true(5, "left")], [said(1, "left", CART)])
    assert verdicts[0].answer is None


def test_a_late_right_answer_counts_no_more_than_a_wrong_one() -> None:
    late = score(judge([true(1, "left"), true(2, "right")], [said(2, "left"), said(3, "right")]))
    assert late is not None
    assert late.exact == 0


def test_order_of_arrival_in_the_lists_does_not_matter() -> None:
    truths, answers = [true(2, "left"), true(4, "right")], [said(1, "left"), said(3, "right")]
    assert judge(truths[::-1], answers[::-1]) == judge(truths, answers)


def test_scores_by_question_keep_the_order_of_asking() -> None:
    truths = [true(1, "left"), true(2, "acid, left", CART), true(3, "acid, left", CART)]
    scores = score_by_question(judge(truths, [said(0, "left"), said(0, "acid, right", CART)]))
    assert list(scores) == [WHERE, CART]
    assert scores[WHERE].exact == 1
    assert (scores[CART].exact, scores[CART].parts, scores[CART].count) == (0, 0.5, 2)


def test_nothing_to_score_is_no_score() -> None:
    assert score([]) is None


@pytest.mark.parametrize(("text", "plain"), [("  Acid,\tLEFT. ", "acid left"), ("no_cart!", "no cart"), ("…", "")])
def test_case_white_space_and_punctuation_do_not_matter(text: str, plain: str) -> None:
    assert normalised(text) == plain


def test_an_empty_answer_is_never_right() -> None:
    assert not matches("", "")
    assert matches("Left.", "left")


@pytest.mark.parametrize(
    ("text", "right", "share"),
    [
        ("acid, left", "acid, left", 1.0),
        ("Left, acid.", "acid, left", 1.0),
        ("fuel, left", "acid, left", 0.5),
        ("left", "acid, left", 0.5),
        ("acid, fuel, gas, left", "acid, left", 0.5),
        ("left, left", "acid, left", 0.5),
        ("no cart", "acid, left", 0.0),
        ("", "acid, left", 0.0),
    ],
)
def test_parts_are_scored_by_share(text: str, right: str, share: float) -> None:
    assert right_parts(text, right) == share

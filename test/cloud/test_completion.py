# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from edgevlm_ros.cloud.completion import content_of, count_of, finished
from edgevlm_ros.cloud.failures import Unparsable


def reply(content: Any = "left", **choice: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content}, **choice}]}


def test_the_words_are_those_of_the_first_choice_whole_or_in_parts() -> None:
    assert content_of(reply()) == "left"
    assert content_of(reply([{"type": "text", "text": "on the "}, {"text": "left"}, "odd"])) == "on the left"


@pytest.mark.parametrize("wrong", [{}, {"choices": []}, {"choices": "?"}, {"choices": [3]}, reply(None), reply(7)])
def test_a_reply_without_words_is_unparsable(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unparsable):
        content_of(wrong)


@pytest.mark.parametrize(("reason", "is_finished"), [("stop", True), (None, True), ("length", False), (7, False)])
def test_a_reply_that_was_cut_is_not_finished(reason: object, is_finished: bool) -> None:
    assert finished(reply(finish_reason=reason)) is is_finished


@pytest.mark.parametrize("usage", [None, "many", {}, {"n": -1}, {"n": 2**32}, {"n": True}, {"n": "7"}])
def test_counts_that_cannot_be_true_are_none(usage: object) -> None:
    assert count_of({"usage": usage}, "n") == 0
    assert count_of({"usage": {"n": 7}}, "n") == 7

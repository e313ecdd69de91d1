# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from edgevlm_ros.evaluation.moment import AFTER, best_moment, moments, overlap
from edgevlm_ros.transfer.types import Region, Source
from support.late_reply import QUESTION, REPLY, Model, stream

SMALL, LARGE = Model("fuel, left", told="gas, left"), Model(REPLY)


def test_a_moment_begins_at_its_keyframe_and_ends_soon_after_the_reply() -> None:
    moment = best_moment(SMALL, LARGE, stream(), QUESTION, delay_s=0.6)
    assert moment is not None
    assert moment.arrival == 3
    assert len(moment.frames) == len(moment.answers) == len(moment.alone) == 3 + AFTER + 1


def test_the_small_model_is_wrong_until_the_reply_and_right_with_it() -> None:
    moment = best_moment(SMALL, LARGE, stream(), QUESTION, delay_s=0.6)
    assert moment is not None
    assert [answer.text for answer in moment.answers] == ["fuel, left"] * 3 + ["gas, left"] * 4
    assert {answer.text for answer in moment.alone} == {"fuel, left"}
    assert moment.unhelped.exchanges == ()
    assert [told.said for told in moment.helped.exchanges] == ["gas, left"]
    assert [turn.source for turn in moment.after.turns] == [Source.CLOUD]
    assert moment.helped.answer.focus is not None


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (Model("gas, left", told="gas, left"), LARGE),
        (Model("fuel, left", told="fuel, left"), LARGE),
        (SMALL, Model('{"answer": "acid, left", "regions": [{"bbox_2d": [0, 0, 500, 500]}]}')),
        (SMALL, Model('{"answer": "gas, left", "regions": []}')),
        (SMALL, Model("{")),
    ],
)
def test_nothing_is_shown_where_the_reply_does_not_help(small: Model, large: Model) -> None:
    assert best_moment(small, large, stream(), QUESTION, delay_s=0.6) is None


def test_a_reply_that_comes_after_the_question_has_changed_is_no_moment() -> None:
    assert best_moment(SMALL, LARGE, stream(8), QUESTION, delay_s=1.2) is None


def test_the_moment_with_the_box_where_the_thing_is_is_worth_most() -> None:
    found = list(moments(SMALL, LARGE, stream(), QUESTION, delay_s=0.6))
    best = best_moment(SMALL, LARGE, stream(), QUESTION, delay_s=0.6)
    assert best is not None
    assert best.worth == max(moment.worth for moment in found)
    assert len({moment.worth for moment in found}) > 1


def test_overlap_is_the_shared_part() -> None:
    box = Region("", 1.0, 0, 0, 10, 10)
    assert overlap(box, box) == 1.0
    assert overlap(box, Region("", 1.0, 5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert overlap(box, Region("", 1.0, 20, 20, 30, 30)) == 0.0

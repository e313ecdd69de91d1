# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from edgevlm_ros.overlay import printable, render
from edgevlm_ros.transfer.types import Answer, FocusMap, Question, Region, Source, Turn

QUESTION = Question("Where is the person?")
GRAY = np.full((240, 320, 3), 90, np.uint8)


def answer(focus: FocusMap | None = None, context: Turn | None = None) -> Answer:
    return Answer(2_000_000_000, QUESTION, "left", 0.9, 0.05, 0.03, context, focus, "attention" if focus else "none")


def test_without_focus_the_frame_stays_as_it_is_above_its_caption() -> None:
    picture = render(GRAY, answer())
    assert picture.shape[0] > 240
    assert picture.shape[1:] == (320, 3)
    assert (picture[:240] == 90).all()
    assert picture[240:].max() > 200


def test_heat_and_boxes_lie_where_the_focus_is() -> None:
    grid = np.zeros((5, 6), np.float32)
    grid[0, 0] = 1.0
    focus = FocusMap(grid, (Region("person", 0.8, 200, 150, 260, 220),), (180, 130, 290, 213), 1_000_000_000)
    picture = render(GRAY, answer(focus))
    assert not (picture[10:20, 10:20] == 90).all()
    assert (picture[100:110, 100:110] == 90).all()
    assert not (picture[150, 200:260] == 90).all()
    assert not (picture[130, 180:290] == 90).all()


def test_the_words_of_the_context_change_the_caption() -> None:
    context = Turn(1_000_000_000, QUESTION, "behind the cart", Source.CLOUD)
    assert not np.array_equal(render(GRAY, answer())[240:], render(GRAY, answer(context=context))[240:])


def test_any_text_can_be_drawn() -> None:
    assert printable("links\nétage 人") == "links ?tage ?"
    render(GRAY, answer(context=Turn(0, QUESTION, "\x00\U0001f600" * 500, Source.CLOUD)))

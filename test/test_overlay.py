# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgevlm_ros.overlay import render
from edgevlm_ros.transfer.focus import FOCUS_MODES, Focus, focus_map
from edgevlm_ros.transfer.types import Answer, FocusMap, Question, Region, Source, Turn

QUESTION = Question("Where is the person?")
GRAY = np.full((240, 320, 3), 90, np.uint8)
REGION = Region("person", 0.8, 200, 100, 260, 180)
ESSAY = "The person stands behind the cart, to the left of the rack, and looks at the machine. " * 20


def answer(focus: FocusMap | None = None, mode: str = "crop", words: str | None = None) -> Answer:
    context = None if words is None else Turn(1_000_000_000, QUESTION, words, Source.CLOUD)
    return Answer(4_200_000_000, QUESTION, "left", 0.9, 0.05, 0.03, context, focus, mode if focus else "none")


def focused(mode: str, rule: Focus | None = None) -> NDArray[np.uint8]:
    """The frame of an overlay, without its caption."""
    focus = focus_map([REGION], 1_000_000_000, 320, 240, (5, 6), Focus(mode))
    return render(GRAY, answer(focus, mode), rule)[:240]


def caption(told: Answer) -> NDArray[np.uint8]:
    return render(GRAY, told)[240:]


def same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return np.array_equal(one, other)


# -- the frame -------------------------------------------------------------------------------------------------------


def test_without_focus_the_frame_stays_as_it_is_above_its_caption() -> None:
    picture = render(GRAY, answer())
    assert picture.shape[0] > 240
    assert picture.shape[1:] == (320, 3)
    assert (picture[:240] == 90).all()
    assert picture[240:].max() > 200


def test_the_frame_itself_is_not_drawn_on() -> None:
    for mode in FOCUS_MODES:
        focused(mode, Focus(mode))
    assert (GRAY == 90).all()


def test_heat_and_boxes_lie_where_the_focus_is() -> None:
    grid = np.zeros((5, 6), np.float32)
    grid[4, 0] = 1.0
    focus = FocusMap(grid, (Region("person", 0.8, 200, 150, 260, 220),), (180, 130, 290, 213), 1_000_000_000)
    picture = render(GRAY, answer(focus))[:240]
    assert not (picture[220:230, 10:20] == 90).any(axis=2).all()
    assert (picture[100:110, 100:110] == 90).all()
    assert not (picture[150, 200:260] == 90).any()
    assert not (picture[130, 180:190] == 90).any()


def test_the_way_of_focusing_is_named() -> None:
    attention, text = focused("attention"), focused("text")
    assert not same(attention[:20, :120], text[:20, :120])
    assert same(attention[20:], text[20:])


def test_crop_shows_the_corners_of_the_second_view() -> None:
    focus = FocusMap(np.zeros((5, 6), np.float32), (), (180, 130, 290, 213), 0)
    picture = render(GRAY, answer(focus))[:240]
    corners = picture[[130, 130, 212, 212], [180, 289, 180, 289]]
    assert (corners > 200).all()
    assert (picture[170, 180:290] == 90).all()


def test_overlay_darkens_all_but_the_regions_as_far_as_the_model_sees_it() -> None:
    assert (focused("overlay", Focus("overlay", dim=0.5))[200:, :100] == 45).all()
    assert (focused("overlay")[200:, :100] == 31).all()
    assert focused("overlay")[140, 230].min() > 31


def test_prune_darkens_the_visual_tokens_that_the_decoder_does_not_see() -> None:
    all_seen, few_seen = (focused("prune", Focus("prune", keep=keep)) for keep in (1.0, 0.2))
    assert (all_seen[200:, :100] == 90).all()
    assert (few_seen != all_seen).any(axis=2).mean() == pytest.approx(24 / 30, abs=0.03)
    assert same(few_seen[140, 220:250], all_seen[140, 220:250])


def test_which_visual_tokens_are_left_out_is_not_guessed() -> None:
    assert (focused("prune")[200:, :100] == 90).all()


def test_the_confidence_that_is_left_is_told() -> None:
    sure = focus_map([REGION], 0, 320, 240, (5, 6), Focus())
    assert sure is not None
    less = replace(sure, regions=(replace(REGION, score=0.4),))
    assert not same(render(GRAY, answer(sure))[:240], render(GRAY, answer(less))[:240])


# -- the caption -----------------------------------------------------------------------------------------------------


def test_the_words_of_the_context_and_their_age_are_told() -> None:
    told = answer(words="behind the cart")
    assert not same(caption(answer()), caption(told))
    assert not same(caption(answer(words="before the cart")), caption(told))
    assert not same(caption(replace(told, stamp=told.stamp + 300_000_000)), caption(told))


def test_it_is_told_whether_the_cloud_or_the_edge_has_spoken() -> None:
    cloud = answer(words="left")
    assert cloud.context is not None
    edge = replace(cloud, context=replace(cloud.context, source=Source.EDGE))
    assert not same(caption(cloud), caption(edge))


def test_it_is_told_that_the_context_is_suspended() -> None:
    assert not same(caption(answer()), caption(replace(answer(), suspended=True)))


def test_an_unknown_confidence_is_left_out() -> None:
    assert not same(caption(replace(answer(), confidence=float("nan"))), caption(answer()))


def test_other_alphabets_are_drawn() -> None:
    assert not same(caption(answer(words="слева")), caption(answer(words="права")))


@pytest.mark.parametrize("width", [200, 320, 640, 1920])
@pytest.mark.parametrize("words", [ESSAY, "a" * 5000, "人" * 5000, "\u0301" * 5000])
def test_long_words_stay_inside_the_picture(width: int, words: str) -> None:
    frame = np.zeros((48, width, 3), np.uint8)
    picture = render(frame, replace(answer(words=words), question=Question(words), text=words))
    strip = picture[48:]
    background = strip[-1, -1]
    assert (strip[:, -2:] == background).all()
    assert (strip[:2] == background).all()
    assert (strip[-2:] == background).all()


def test_all_pictures_of_one_width_are_of_one_size() -> None:
    assert render(GRAY, answer()).shape == render(GRAY, answer(words=ESSAY)).shape
    assert render(GRAY, replace(answer(), question=Question(ESSAY))).shape == render(GRAY, answer()).shape


def test_long_words_of_the_cloud_get_a_second_row_and_an_ellipsis() -> None:
    short, cut = caption(answer(words="x")), caption(answer(words=ESSAY))
    other_end = caption(answer(words=ESSAY + "and more"))
    assert (cut > 150).any(axis=(1, 2)).sum() > (short > 150).any(axis=(1, 2)).sum()
    assert same(cut, other_end)


# -- whatever comes --------------------------------------------------------------------------------------------------

ANYWHERE = st.floats(allow_nan=True, allow_infinity=True)
WILD = st.builds(Region, st.text(max_size=60), ANYWHERE, ANYWHERE, ANYWHERE, ANYWHERE, ANYWHERE)
WINDOWS = st.none() | st.tuples(*[st.integers(-(2**70), 2**70)] * 4)
GRIDS = st.lists(ANYWHERE, min_size=6, max_size=6).map(lambda values: np.array(values).reshape(2, 3).astype(np.float32))


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 80), st.integers(1, 90)),
    st.lists(WILD, max_size=4).map(tuple),
    GRIDS,
    WINDOWS,
    st.sampled_from([*FOCUS_MODES, "attention+prune+overlay", "none", "unheard of"]),
    st.text(max_size=200),
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_no_regions_map_or_words_can_break_it(
    size: tuple[int, int],
    regions: tuple[Region, ...],
    grid: NDArray[np.float32],
    crop: tuple[int, int, int, int] | None,
    mode: str,
    words: str,
) -> None:
    frame = np.zeros((*size, 3), np.uint8)
    told = replace(answer(FocusMap(grid, regions, crop, 0), mode, words), question=Question("?"), text=words)
    picture = render(frame, told, Focus())
    assert picture.dtype == np.uint8
    assert picture.shape == render(frame, answer()).shape

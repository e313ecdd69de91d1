# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from edgevlm_ros.tracking.glimpse import glimpse
from edgevlm_ros.tracking.matching import best_match, matched
from support.moving_scene import HEIGHT, WIDTH, scene

RANDOM = np.random.default_rng(0).standard_normal((6, 8, 16))
PATCHES = (RANDOM / np.linalg.norm(RANDOM, axis=-1, keepdims=True)).astype(np.float16)
BOX = np.array([[2 / 8, 2 / 6, 4 / 8, 4 / 6]])


def test_what_stays_is_found_where_it_was() -> None:
    boxes, cosines = matched(PATCHES, PATCHES, BOX, 0.3)
    assert boxes == pytest.approx(BOX, abs=0.02)
    assert cosines == pytest.approx([1.0], abs=1e-2)


def test_what_moves_is_found_where_it_went() -> None:
    boxes, cosines = matched(PATCHES, np.roll(PATCHES, (1, 2), (0, 1)), BOX, 0.5)
    assert boxes == pytest.approx(BOX + np.array([2 / 8, 1 / 6, 2 / 8, 1 / 6]), abs=0.02)
    assert cosines == pytest.approx([1.0], abs=1e-2)


def test_nothing_is_looked_for_beyond_the_radius() -> None:
    boxes, cosines = matched(PATCHES, np.roll(PATCHES, 4, 1), BOX, 0.2)
    assert (np.abs(boxes - BOX) < 0.3).all()
    assert cosines[0] < 0.7


def test_images_are_matched_to_a_part_of_a_cell() -> None:
    (before, box), (now, truth) = scene(200, 160), scene(252, 186)
    start = np.array([[box.x0 / WIDTH, box.y0 / HEIGHT, box.x1 / WIDTH, box.y1 / HEIGHT]])
    end = np.array([[truth.x0 / WIDTH, truth.y0 / HEIGHT, truth.x1 / WIDTH, truth.y1 / HEIGHT]])
    boxes, cosines = matched(glimpse(0, before).patches, glimpse(1, now).patches, start, 0.3)
    assert boxes == pytest.approx(end, abs=0.5 / 16)
    assert cosines[0] > 0.7


def test_pixels_are_found_within_reach_and_not_beyond() -> None:
    (before, box), (now, truth) = scene(200, 160), scene(300, 160)
    start, end = (np.array([r.x0 / WIDTH, r.y0 / HEIGHT, r.x1 / WIDTH, r.y1 / HEIGHT]) for r in (box, truth))
    found, correlation = best_match(glimpse(0, before).gray, start, glimpse(1, now).gray, start, 0.1)
    assert found == pytest.approx(end, abs=1 / 160)
    assert correlation > 0.9
    assert best_match(glimpse(0, before).gray, start, glimpse(1, now).gray, start, 0.0)[1] < 0.7


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.float64, (2, 4), elements=st.floats(-2, 3)), st.floats(0, 1))
def test_any_box_is_looked_for_without_an_exception(boxes: NDArray[np.float64], reach: float) -> None:
    gray = glimpse(0, scene(200, 160)[0]).gray
    found, correlation = best_match(gray, boxes[0], gray, boxes[1], reach)
    assert np.isfinite(found).all()
    assert -1.01 <= correlation <= 1.01


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.float64, (3, 4), elements=st.floats(-2, 3)), st.floats(0, 1))
def test_any_boxes_stay_finite_and_are_no_exception(boxes: NDArray[np.float64], radius: float) -> None:
    moved, cosines = matched(PATCHES, PATCHES, boxes, radius)
    assert np.isfinite(moved).all()
    assert (np.abs(cosines) <= 1.01).all()

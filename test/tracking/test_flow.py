# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from edgevlm_ros.tracking.flow import flowed
from edgevlm_ros.tracking.glimpse import glimpse
from edgevlm_ros.transfer.types import Region
from support.moving_scene import HEIGHT, WIDTH, scene

PIXEL = 1 / WIDTH


def seen(x: float, y: float, size: float = 120.0) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    image, region = scene(x, y, size)
    return glimpse(0, image).gray, fractions(region)


def fractions(region: Region) -> NDArray[np.float64]:
    return np.array([[region.x0 / WIDTH, region.y0 / HEIGHT, region.x1 / WIDTH, region.y1 / HEIGHT]])


def test_a_box_moves_with_what_is_in_it() -> None:
    before, box = seen(200, 150)
    now, truth = seen(218, 142)
    moved, followed = flowed(before, now, box, box)
    assert followed.all()
    assert moved == pytest.approx(truth, abs=3 * PIXEL)


def test_a_box_grows_with_what_is_in_it() -> None:
    before, box = seen(200, 150, 120)
    now, truth = seen(194, 144, 132)
    moved, followed = flowed(before, now, box, box)
    assert followed.all()
    assert moved == pytest.approx(truth, abs=6 * PIXEL)


def test_each_box_goes_its_own_way() -> None:
    before, box = seen(200, 150)
    now, truth = seen(218, 150)
    wall = np.array([[0.75, 0.5, 0.95, 0.8]])
    moved, followed = flowed(before, now, np.vstack([box, wall]), np.vstack([box, wall]))
    assert followed.all()
    assert moved == pytest.approx(np.vstack([truth, wall]), abs=3 * PIXEL)


def test_what_vanishes_cannot_be_followed() -> None:
    before, box = seen(200, 150)
    noise = np.random.default_rng(0).integers(0, 256, before.shape).astype(np.uint8)
    moved, followed = flowed(before, noise, box, box)
    assert not followed.any()
    assert (moved == box).all()


def test_a_box_outside_the_view_cannot_be_followed() -> None:
    before, _ = seen(200, 150)
    outside = np.array([[1.1, 0.2, 1.3, 0.4], [-0.4, -0.4, -0.1, -0.1]])
    moved, followed = flowed(before, before, outside, outside)
    assert not followed.any()
    assert (moved == outside).all()


def test_a_guess_leads_over_a_distance_that_flow_cannot_see() -> None:
    before, box = seen(60, 150)
    now, truth = seen(460, 150)
    moved, followed = flowed(before, now, box, truth + 4 * PIXEL)
    assert followed.all()
    assert moved == pytest.approx(truth, abs=3 * PIXEL)


def test_no_boxes_are_no_boxes() -> None:
    before, _ = seen(200, 150)
    moved, followed = flowed(before, before, np.empty((0, 4)), np.empty((0, 4)))
    assert moved.shape == (0, 4)
    assert followed.shape == (0,)


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.float64, (3, 4), elements=st.floats(-2, 3)))
def test_any_boxes_stay_finite_and_are_no_exception(boxes: NDArray[np.float64]) -> None:
    before, _ = seen(200, 150)
    now, _ = seen(210, 150)
    moved, followed = flowed(before, now, boxes, boxes)
    assert np.isfinite(moved).all()
    assert (moved[~followed] == boxes[~followed]).all()

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevlm_ros.tracking.glimpse import glimpse, similarity
from support.moving_scene import scene, texture

IMAGE, _ = scene(200, 150)


def test_a_frame_shrinks_to_a_small_gray_image_and_its_patches() -> None:
    seen = glimpse(7, IMAGE)
    assert seen.stamp == 7
    assert seen.gray.shape == (120, 160)
    assert seen.gray.dtype == np.uint8
    assert seen.patches.shape[:2] == (12, 16)
    assert seen.patches.dtype == np.float16
    assert np.linalg.norm(seen.patches.astype(float), axis=-1) == pytest.approx(1.0, abs=1e-2)


@settings(deadline=None)
@given(st.integers(1, 900), st.integers(1, 900))
def test_frames_of_all_shapes_can_be_remembered(width: int, height: int) -> None:
    seen = glimpse(0, np.zeros((height, width, 3), np.uint8))
    assert seen.gray.shape[1] <= 160
    assert seen.gray.size <= 160 * 640
    assert np.isfinite(seen.patches).all()
    assert similarity(seen, seen) == pytest.approx(1.0, abs=1e-2)


def test_a_scene_in_which_things_move_is_alike_and_another_is_not() -> None:
    before, after, elsewhere = glimpse(0, IMAGE), glimpse(1, scene(320, 170)[0]), glimpse(2, texture(9, 640, 480, 90))
    assert similarity(before, before) == pytest.approx(1.0, abs=1e-2)
    assert similarity(before, after) > 0.9
    assert similarity(before, elsewhere) < 0.6
    assert similarity(before, after) == similarity(after, before)

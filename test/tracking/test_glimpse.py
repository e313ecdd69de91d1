# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevlm_ros.tracking.glimpse import comparable, glimpse, similarity
from support.moving_scene import scene, texture

IMAGE, _ = scene(200, 150)


def test_a_frame_shrinks_to_a_small_gray_image_and_its_patches() -> None:
    seen = glimpse(7, IMAGE)
    assert (seen.stamp, seen.source) == (7, "image")
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


def test_the_engines_features_are_kept_but_no_more_than_128_of_them() -> None:
    features = np.random.default_rng(0).standard_normal((5, 6, 300)).astype(np.float32)
    seen = glimpse(0, IMAGE, features)
    assert seen.source == "engine"
    assert seen.patches.shape == (5, 6, 128)
    assert glimpse(0, IMAGE, features[..., :60]).patches.shape == (5, 6, 60)


def test_angles_between_features_survive_the_projection() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 1, 400, 1000)).astype(np.float32)
    mixed = np.stack([one[0], one[0] + other[0]])
    patches = glimpse(0, IMAGE, mixed).patches.astype(np.float32)
    assert (patches[0] * patches[1]).sum(-1).mean() == pytest.approx(np.sqrt(0.5), abs=0.03)


def test_the_engines_features_are_left_as_they_were() -> None:
    features = np.ones((2, 2, 8), np.float32)
    glimpse(0, IMAGE, features)
    assert (features == 1.0).all()


def test_only_like_patches_can_be_compared() -> None:
    features = np.ones((5, 6, 8), np.float32)
    of_image, of_engine = glimpse(0, IMAGE), glimpse(0, IMAGE, features)
    assert comparable(of_image, glimpse(1, IMAGE))
    assert not comparable(of_image, of_engine)
    assert not comparable(of_engine, glimpse(0, IMAGE, features[:4]))


def test_a_scene_in_which_things_move_is_alike_and_another_is_not() -> None:
    before, after, elsewhere = glimpse(0, IMAGE), glimpse(1, scene(320, 170)[0]), glimpse(2, texture(9, 640, 480, 90))
    assert similarity(before, before) == pytest.approx(1.0, abs=1e-2)
    assert similarity(before, after) > 0.9
    assert similarity(before, elsewhere) < 0.6
    assert similarity(before, after) == similarity(after, before)


def test_scenes_are_alike_whatever_sees_them() -> None:
    features = np.ones((5, 6, 8), np.float32)
    assert similarity(glimpse(0, IMAGE), glimpse(0, IMAGE, features)) == pytest.approx(1.0, abs=1e-2)

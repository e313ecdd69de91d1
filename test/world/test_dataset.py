# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevlm_ros.world import questions as q
from edgevlm_ros.world.dataset import ATTEMPTS, FIRST_SEED, HEIGHT, WIDTH, draw, load_split, render_split
from edgevlm_ros.world.render import Renderer
from edgevlm_ros.world.scene import STYLES


def test_a_frame_leaves_at_most_one_thing_open_and_wears_its_splits_look(renderer: Renderer) -> None:
    for index in range(12):
        seed, scene, view, seen = draw(renderer, "val", index)
        assert 0 <= seed - FIRST_SEED["val"] - index * ATTEMPTS < ATTEMPTS
        assert scene.hall.wall in STYLES["val"].textures
        assert len(set(seen.ambiguous)) <= 1
        assert seen == q.observe(scene, view.classes)


def test_a_split_is_read_back_as_it_was_drawn(renderer: Renderer, tmp_path: Path) -> None:
    render_split(tmp_path, "test", size=4, processes=1)
    split = load_split(tmp_path, "test")
    assert len(split) == 4
    assert split.frames.shape == (4, HEIGHT, WIDTH, 3)
    for index in range(4):
        _, _, view, seen = draw(renderer, "test", index)
        assert split.seen[index] == seen
        assert np.array_equal(split.classes[index], view.classes[1::2, 1::2])


def test_a_split_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="render"):
        load_split(tmp_path, "val")

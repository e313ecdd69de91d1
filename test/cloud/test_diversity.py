# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cloud.diversity import diverse


@given(count=st.integers(1, 60), keep=st.floats(0.01, 1.0), seed=st.integers(0, 99))
def test_the_share_that_was_asked_for_stays_in_order(count: int, keep: float, seed: int) -> None:
    chosen = diverse(np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32), keep)
    assert len(chosen) == max(1, round(keep * count))
    assert (np.diff(chosen) > 0).all()
    assert 0 <= chosen[0] <= chosen[-1] < count


def test_the_one_thing_before_a_wall_stays() -> None:
    wall = np.tile(np.array([1.0, 0.0, 0.0], np.float32), (50, 1))
    wall[17] = [0.0, 1.0, 0.0]
    assert 17 in diverse(wall, 0.04)


def test_tokens_that_are_all_alike_are_chosen_once_each() -> None:
    assert len(set(diverse(np.ones((10, 4), np.float32), 0.5))) == 5

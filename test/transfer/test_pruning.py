# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from edgevlm_ros.transfer.pruning import kept, sampled

values = arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(0, 1, width=32))
grids = arrays.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(0, 1, width=32))


def cells(rows: int, cols: int) -> NDArray[np.float32]:
    return np.array(
        [(x / cols, y / rows, (x + 1) / cols, (y + 1) / rows) for y in range(rows) for x in range(cols)], np.float32
    )


@given(values, st.floats(0.0, 0.999), st.floats(0.0, 1.0))
def test_as_many_tokens_stay_as_asked_for_in_their_order(
    focus: NDArray[np.float32], keep: float, background: float
) -> None:
    indices = kept(focus, keep, background)
    assert len(indices) == (max(1, round(keep * len(focus))) if focus.any() else len(focus))
    assert (np.diff(indices) > 0).all()
    assert indices[0] >= 0
    assert indices[-1] < len(focus)


@given(values)
def test_all_stay_without_a_focus_or_at_one(focus: NDArray[np.float32]) -> None:
    everything = list(range(len(focus)))
    assert kept(focus, 1.0).tolist() == everything
    assert kept(np.zeros_like(focus), 0.25).tolist() == everything


def test_the_focus_stays_and_the_rest_is_thinned_evenly() -> None:
    focus = np.zeros(16, np.float32)
    focus[4:10] = 1.0
    assert kept(focus, 0.5).tolist() == [2, *range(4, 10), 13]


def test_the_best_stay_and_of_equals_the_first() -> None:
    assert kept(np.array([0.1, 0.5, 0.5, 0.5, 0.2], np.float32), 0.4, background=0.0).tolist() == [1, 2]


@given(grids)
def test_a_map_under_its_own_cells_is_itself_exactly(grid: NDArray[np.float32]) -> None:
    assert (sampled(grid, cells(*grid.shape)) == grid.ravel()).all()


@given(grids, arrays.arrays(np.float32, (5, 2), elements=st.floats(0, 1, width=32)))
def test_a_mean_lies_between_the_extremes(grid: NDArray[np.float32], corners: NDArray[np.float32]) -> None:
    boxes = np.hstack([corners * 0.5, corners * 0.5 + 0.25])
    means = sampled(grid, boxes)
    assert means.dtype == np.float32
    assert (means >= grid.min() - 1e-6).all()
    assert (means <= grid.max() + 1e-6).all()


def test_a_box_over_several_cells_has_their_mean_by_area() -> None:
    grid = np.array([[0.0, 1.0], [0.0, 0.5]], np.float32)
    boxes = np.array([[0, 0, 1, 1], [0.25, 0, 0.75, 0.5], [0, 0, 0.75, 0.5]], np.float32)
    assert sampled(grid, boxes) == pytest.approx([0.375, 0.5, 1 / 3])

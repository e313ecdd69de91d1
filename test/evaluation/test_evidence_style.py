# SPDX-License-Identifier: Apache-2.0
"""Labels that do not collide."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.evaluation.evidence_style import spread

numbers = st.lists(st.floats(0, 100), max_size=12)


@given(numbers)
def test_labels_stand_apart_and_in_the_order_of_their_values(values: list[float]) -> None:
    places = spread(values, 4.0)
    order = sorted(range(len(values)), key=lambda i: values[i])
    assert all(places[b] - places[a] >= 4.0 - 1e-6 for a, b in pairwise(order))


@given(numbers)
def test_labels_stay_around_their_values(values: list[float]) -> None:
    places = spread(values, 4.0)
    assert sum(places) == pytest.approx(sum(values), abs=1e-6)
    assert all(abs(place - value) <= 2.0 * len(values) for place, value in zip(places, values, strict=True))


def test_labels_with_room_stand_where_their_values_are() -> None:
    assert spread([50.0, 10.0], 4.0) == [50.0, 10.0]

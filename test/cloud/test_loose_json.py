# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cloud.loose_json import json_values

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(PLAIN, max_size=4) | st.dictionaries(st.text(max_size=5), PLAIN, max_size=4))
def test_what_is_json_is_read_as_json(value: object) -> None:
    text = json.dumps(value)
    start, end, found = next(json_values(text))
    assert (start, end) == (0, len(text))
    assert found == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,, "b": [1 2],}', {"a": 1.0, "b": [1.0, 2.0]}),
        ('{"a": True, "b": None, ', {"a": True, "b": None}),
        ('{"a": 1, "b": "cu', {"a": 1.0}),
        ("[[1, 2], [3, 4", [[1.0, 2.0], [3.0]]),
    ],
)
def test_commas_and_ends_are_forgiven(text: str, value: object) -> None:
    assert next(json_values(text))[2] == value


def test_each_value_in_a_text_is_found_with_its_place() -> None:
    text = 'first {"a": 1} then [2]'
    assert [text[start:end] for start, end, _ in json_values(text)] == ['{"a": 1}', "[2]"]

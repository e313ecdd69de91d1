# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import time

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


@given(st.dictionaries(st.text(max_size=5), PLAIN, max_size=4) | st.lists(PLAIN, max_size=4).map(lambda v: [0, *v]))
def test_what_is_json_is_read_as_json(value: object) -> None:
    text = json.dumps(value)
    found = next(json_values(text))
    assert (found.start, found.end, found.is_broken) == (0, len(text), False)
    assert found.value == found.members == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,, "b": [1 2],}', {"a": 1, "b": [1, 2]}),
        ('{"a": 1 "b": True}', {"a": 1, "b": True}),
        ("{'a': 'it's open', 'b': None}", {"a": "it's open", "b": None}),
        ("{'a': 'the dogs' \"bowl\"', 'b': 'it's'}", {"a": 'the dogs\' "bowl"', "b": "it's"}),
        (r"{'a': 'it\'s\n\"on\"'}", {"a": 'it\'s\n"on"'}),
        ("{'a': \"don't\"}", {"a": "don't"}),
        ("{“a”: “left”, “b”: []}", {"a": "left", "b": []}),
        ("｛＂a＂：＂left＂，＂b＂：［］｝", {"a": "left", "b": []}),
        ('{"a": "say "no" {now", "b": 1}', {"a": 'say "no" {now', "b": 1}),
        ("{a: left, b: 2}", {"a": "left", "b": 2}),
        ('{"a": [{"b": [1, 2}]}', {"a": [{"b": [1, 2]}]}),
    ],
)
def test_a_dialect_is_read(text: str, value: object) -> None:
    found = next(json_values(text))
    assert (found.value, found.end, found.is_broken) == (value, len(text), False)


@pytest.mark.parametrize(
    ("text", "value", "members"),
    [
        ('{"a": True, "b": None, ', None, None),
        ('{"a": true, "b": null, ', {"a": True, "b": None}, {"a": True, "b": None}),
        ('{"a": 1, "b": "cu', {"a": 1}, {"a": 1}),
        ('{"a": 12', None, None),
        ('{"a": ["b", "c', {"a": ["b"]}, None),
        ('{"a": 1, "b": [{"c": 2}, {"d": [3, 4', {"a": 1, "b": [{"c": 2}, {"d": [3]}]}, {"a": 1}),
        ("[[1, 2], [3, 4", [[1, 2], [3]], [[1, 2]]),
        ("{'a': 'don'", None, None),
        ('{"a": "b] }', None, None),
    ],
)
def test_of_what_breaks_off_the_last_piece_is_not_guessed(text: str, value: object, members: object) -> None:
    found = next(json_values(text))
    assert (found.value, found.members, found.end, found.is_broken) == (value, members, len(text), True)


def test_each_value_in_a_text_is_found_with_its_place() -> None:
    text = 'first [see] {"a": 1} then [2]'
    assert [text[found.start : found.end] for found in json_values(text)] == ['{"a": 1}', "[2]"]


@pytest.mark.parametrize(
    "piece", ["[", '{"a":', '"', "{'", '{"a" ', "[1,", "{“", "[1]", '\\"', "{a[1}", "[{", "{'a': 'a' "]
)
def test_the_time_grows_with_the_length_alone(piece: str) -> None:
    def seconds(length: int) -> float:
        text = "{" + piece * (length // len(piece)) + "}" * 500
        began = time.process_time()
        list(json_values(text))
        return time.process_time() - began

    assert min(seconds(32_000) for _ in range(2)) < 40 * max(seconds(4_000), 0.005)

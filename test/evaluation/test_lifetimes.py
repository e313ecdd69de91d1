# SPDX-License-Identifier: Apache-2.0
"""How long asked facts live."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.evaluation.lifetimes import BINS, Lifetime, bin_of, lifetimes

STEP = 200_000_000


class Known(NamedTuple):
    name: str
    value: str
    object_id: int = 1


def stream(*values: str, name: str = "load", start: int = 0) -> dict[int, tuple[Known, ...]]:
    """A frame for each value; of '-' nothing is known."""
    return {start + i * STEP: () if v == "-" else (Known(name, v),) for i, v in enumerate(values)}


def test_a_fact_lives_from_its_first_frame_to_the_first_without_it() -> None:
    found = lifetimes(stream("a", "a", "a", "b", "b"))
    assert [found[i * STEP].longest for i in range(5)] == pytest.approx([0.6, 0.6, 0.6, 0.4, 0.4])


def test_the_whole_answer_lives_as_long_as_its_first_part_to_end() -> None:
    facts = {i * STEP: (Known("load", "acid"), Known("side", "left" if i < 2 else "right")) for i in range(10)}
    assert lifetimes(facts)[0] == Lifetime(pytest.approx(0.4), pytest.approx(2.0))


def test_the_same_value_of_another_thing_is_another_fact() -> None:
    facts = {i * STEP: (Known("load", "acid", 1 if i < 5 else 2),) for i in range(10)}
    assert lifetimes(facts)[0].longest == pytest.approx(1.0)


def test_frames_without_an_honest_question_are_bridged_but_not_for_long() -> None:
    assert lifetimes(stream("a", "-", "-", "a"))[0].longest == pytest.approx(0.8)
    found = lifetimes(stream("a", "a", *"------", "a"))
    assert found[0].longest == pytest.approx(0.4)
    assert STEP * 2 not in found


def test_bins_are_closed_below() -> None:
    assert [BINS[bin_of(seconds)] for seconds in (0.2, 1.0, 2.9, 3.0, 10.0, 30.0)] == [
        "< 1 s",
        "1-3 s",
        "1-3 s",
        "3-10 s",
        "10-30 s",
        "> 30 s",
    ]


values = st.lists(st.sampled_from("ab-"), min_size=2, max_size=40)


@given(values, st.integers(0, 10**18))
def test_lifetimes_do_not_know_what_time_it_is(said: list[str], start: int) -> None:
    here, there = lifetimes(stream(*said)), lifetimes(stream(*said, start=start))
    assert {stamp + start: life for stamp, life in here.items()} == there


@given(values)
def test_every_frame_with_facts_has_a_lifetime_within_the_stream(said: list[str]) -> None:
    found = lifetimes(stream(*said))
    assert len(found) == sum(value != "-" for value in said)
    for life in found.values():
        assert 0 <= life.shortest <= life.longest <= len(said) * STEP / 1e9 + 1.0


@given(values, st.data())
def test_a_change_of_value_never_makes_a_life_longer(said: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(said) - 1))
    before = lifetimes(stream(*said))
    after = lifetimes(stream(*said[:place], *("c" if v != "-" else v for v in said[place:])))
    for stamp in before:
        if stamp < place * STEP and after[stamp].longest > before[stamp].longest:
            pytest.fail(f"{before[stamp]} became {after[stamp]}")


@given(st.lists(st.sampled_from("ab"), min_size=2, max_size=30))
def test_without_gaps_a_life_is_the_length_of_its_run(said: list[str]) -> None:
    found = lifetimes(stream(*said))
    for place, value in enumerate(said):
        first, last = place, place
        while first > 0 and said[first - 1] == value:
            first -= 1
        while last + 1 < len(said) and said[last + 1] == value:
            last += 1
        assert found[place * STEP].longest == pytest.approx((last - first + 1) * 0.2)


def test_a_stream_that_lists_nothing_has_no_lifetimes() -> None:
    assert lifetimes({}) == {}
    assert lifetimes(stream("-", "-")) == {}

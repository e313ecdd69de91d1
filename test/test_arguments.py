# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse

import pytest

from edgevlm_ros.arguments import count, number


@pytest.mark.parametrize("text", ["1", "12", "007"])
def test_a_count_is_a_whole_number(text: str) -> None:
    assert count(text) == int(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "many", "1e3", "²", "9" * 5000])
def test_what_is_no_count_is_told_with_what_would_be_one(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="it takes a whole number, 1 or more"):
        count(text)


@pytest.mark.parametrize("text", ["0.5", "3600", "1e2"])
def test_a_number_is_one_within_its_range(text: str) -> None:
    assert number(0.5, 3600.0)(text) == float(text)


@pytest.mark.parametrize("text", ["", "0.4", "3601", "nan", "inf", "-1", "many"])
def test_what_is_no_such_number_is_told_with_the_range(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"it takes 0\.5 to 3600"):
        number(0.5, 3600.0)(text)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse

import pytest

from edgevlm_ros.arguments import count


@pytest.mark.parametrize("text", ["1", "12", "007"])
def test_a_count_is_a_whole_number(text: str) -> None:
    assert count(text) == int(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "many", "1e3", "²", "9" * 5000])
def test_what_is_no_count_is_told_with_what_would_be_one(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="it takes a whole number, 1 or more"):
        count(text)

# SPDX-License-Identifier: Apache-2.0
"""Values that several commands of `edgevlm` take, checked in one way and refused in one wording: types for argparse."""

import argparse
import math
import re
from collections.abc import Callable


def count(text: str) -> int:
    """Of things of which there has to be one at least."""
    if not re.fullmatch("0{0,9}[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text}: it takes a whole number, 1 or more")
    return int(text)


def number(low: float, high: float) -> Callable[[str], float]:
    """A value from low to high, both included."""

    def checked(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text}: it takes {low:g} to {high:g}")
        return value

    return checked

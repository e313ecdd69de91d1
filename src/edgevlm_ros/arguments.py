# SPDX-License-Identifier: Apache-2.0
"""Values that several commands of `edgevlm` take, checked in one way and refused in one wording: types for argparse."""

import argparse
import re


def count(text: str) -> int:
    """Of things of which there has to be one at least."""
    if not re.fullmatch("0{0,9}[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text}: it takes a whole number, 1 or more")
    return int(text)

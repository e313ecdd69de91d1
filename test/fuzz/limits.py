# SPDX-License-Identifier: Apache-2.0
"""What one input may cost: a hang and a decompression bomb are faults like an exception.

Time is the processor's and not the clock's, so that a neighbour on the machine is not taken for a hang.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

SECONDS = 1.0
MEGABYTES = 1024
"""A picture of images.MAX_PIXELS in BGR, in RGB and as the decoder keeps it, and some to spare."""


class TooMuch(AssertionError):
    """An input took more time or memory than any may."""


def cost(check: Callable[[bytes], None], data: bytes) -> float:
    """Check an input; the seconds of processor time that it took. Raises TooMuch, and what the check raises."""
    memory, began = _peak(), time.process_time()
    check(data)
    seconds, megabytes = time.process_time() - began, (_peak() - memory) / 1024
    if seconds > SECONDS:
        raise TooMuch(f"{len(data)} bytes took {seconds:.2f} s")
    if megabytes > MEGABYTES:
        raise TooMuch(f"{len(data)} bytes took {megabytes:.0f} MB")
    return seconds


def _peak() -> int:
    """KiB of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

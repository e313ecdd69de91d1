# SPDX-License-Identifier: Apache-2.0
"""Reads a bag in a process whose address space the kernel limits: `bag_in_limited_memory.py MEBIBYTES BAG`.

Prints the bag's error, or how many messages it has, and the MiB that reading took at most.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bags import BagReader


def peak() -> int:
    """KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(mebibytes: int, path: str) -> None:
    before = peak()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (mebibytes << 20), resource.RLIM_INFINITY))
    try:
        with BagReader(path) as bag:
            print(sum(1 for _ in bag.records()))
    except BagError as error:
        print(error)
    print((peak() - before) >> 10)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

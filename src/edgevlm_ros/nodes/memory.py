# SPDX-License-Identifier: Apache-2.0
"""How much memory this process holds, so that a leak on a robot is a line in a plot and not a reboot."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

_STATM = Path("/proc/self/statm")
_M_ARENA_MAX, _ARENAS = -8, 2  # of glibc's malloc.h


def limit_arenas() -> None:
    """For the process of a node, before its threads start. Frames and tensors that one thread allocates and another
    frees leave holes in each thread's arena of malloc: free memory that grew by half a MB a minute."""
    with suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def resident() -> int:
    """Bytes of this process in main memory; where the system does not tell it, the most that it ever held."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def gpu() -> int:
    """Bytes that torch holds on CUDA devices, its cache included; 0 without one. Never imports torch."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)  # a thread may be in the middle of importing torch
    if cuda is None or not cuda.is_initialized():  # to ask before would make a CUDA context of some hundred MB
        return 0
    return sum(cuda.memory_reserved(device) for device in range(cuda.device_count()))

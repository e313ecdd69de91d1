# SPDX-License-Identifier: Apache-2.0
"""How much memory this process holds, so that a leak on a robot is a line in a plot and not a reboot."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")


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

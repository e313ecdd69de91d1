# SPDX-License-Identifier: Apache-2.0
"""ROS at the edges only: messages in, messages out, parameters, lifecycle, diagnostics."""

import ctypes
from contextlib import suppress

_M_ARENA_MAX, _ARENAS = -8, 2  # of glibc's malloc.h

# Frames and tensors that one thread allocates and another frees leave holes in each thread's arena: free memory that
# grew by half a MB a minute in a node whose threads come and go. Said before numpy and torch start theirs.
with suppress(OSError, AttributeError):  # another libc
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)

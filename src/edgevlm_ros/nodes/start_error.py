# SPDX-License-Identifier: Apache-2.0
"""Which errors of a start may pass by themselves, so that a node that is started again may succeed."""

from __future__ import annotations

import httpx

from edgevlm_ros.cloud.failures import Rejected

_BUSY = (408, 425, 429)


def passes(error: BaseException | None) -> bool:
    """A server that does not answer yet or is busy, and memory that others hold; all else is a person's to change.

    What an error was raised from, or in place of, counts too.
    """
    while error is not None:
        if isinstance(error, Rejected) and (error.code in _BUSY or error.code >= 500):
            return True
        # torch's own error of memory has no class that can be named without torch
        if isinstance(error, httpx.TransportError | MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        error = error.__cause__ or error.__context__
    return False

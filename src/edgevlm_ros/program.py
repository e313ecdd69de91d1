# SPDX-License-Identifier: Apache-2.0
"""How a command that starts processes ends: with an exit code, in one line where it cannot go on, nothing left over."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""


class CommandError(Exception):
    """Why a command does not go on, in one line, and the exit code that goes with it."""

    def __init__(self, message: str, code: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


class Interrupt:
    """Ctrl-C or SIGTERM. It raises where Python is, and again when checked: one that falls into a callback of native
    code is lost otherwise."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: object) -> None:
        self.came = True
        raise KeyboardInterrupt

    def check(self) -> None:
        if self.came:
            raise KeyboardInterrupt


def ended(work: Callable[[Callable[[], None]], int]) -> int:
    """The exit code of work, which calls what it is given again and again, or of what ended it."""
    from edgevlm_ros.assets import AssetError
    from edgevlm_ros.bag_types import BagError
    from edgevlm_ros.cloud.server import ServerError
    from edgevlm_ros.graph import GraphError
    from edgevlm_ros.nodes.run import BAD_START
    from edgevlm_ros.processes import ProcessError

    interrupt = Interrupt()
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return work(interrupt.check)
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except (AssetError, BagError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except (GraphError, ProcessError, ServerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, ProcessError) and error.code == BAD_START else FAILED
    except KeyboardInterrupt:
        print("\nstopped: nothing is left running", file=sys.stderr)
        return INTERRUPTED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

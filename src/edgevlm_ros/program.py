# SPDX-License-Identifier: Apache-2.0
"""How a command that starts processes ends: with an exit code, in one line where it cannot go on, nothing left over."""

from __future__ import annotations

import sys
from collections.abc import Callable

from edgevlm_ros.stop_signal import StopSignal

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""


class CommandError(Exception):
    """Why a command does not go on, in one line, and the exit code that goes with it."""

    def __init__(self, message: str, code: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


def ended(work: Callable[[Callable[[], None]], int]) -> int:
    """The exit code of work, which calls what it is given again and again, or of what ended it."""
    from edgevlm_ros.assets import AssetError
    from edgevlm_ros.bag_types import BagError
    from edgevlm_ros.cloud.server import ServerError
    from edgevlm_ros.graph import GraphError
    from edgevlm_ros.nodes.run import BAD_START
    from edgevlm_ros.processes import ProcessError

    stop = StopSignal()
    try:
        return work(stop.check)
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
        stop.restore()

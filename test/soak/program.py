# SPDX-License-Identifier: Apache-2.0
"""How a program that puts the robot through something ends: in one line where it cannot go on, nothing left over."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""


def ended(model: str, work: Callable[[Callable[[], None]], int]) -> int:
    """The exit code of work, which calls what it is given again and again, or of what ended it.

    model: the edge node's, whose name is looked up before anything runs.
    """
    from edgevlm_ros.assets import AssetError, model_path
    from edgevlm_ros.cloud.server import ServerError
    from edgevlm_ros.demo import Interrupt
    from edgevlm_ros.graph import GraphError
    from edgevlm_ros.processes import ProcessError

    interrupt = Interrupt()
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        model_path(model)
        return work(interrupt.check)
    except AssetError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except (GraphError, ProcessError, ServerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\nstopped: nothing is left running", file=sys.stderr)
        return INTERRUPTED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

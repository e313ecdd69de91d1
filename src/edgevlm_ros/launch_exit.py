# SPDX-License-Identifier: Apache-2.0
"""What a launch does when one of its processes ends: an error that stays ends the launch, with exit code 1.

A process that was started with a bad parameter, model or key would end the same way again, respawned or not.
"""

from __future__ import annotations

import signal
from typing import Any

from edgevlm_ros.program import BAD_INPUT

_STOPPED = (0, -signal.SIGINT, -signal.SIGTERM)  # launch may hear of its own Ctrl-C after its processes have ended


def end_launch(event: Any, context: Any) -> None:
    """For on_exit of a node. event: ProcessExited. context: LaunchContext."""
    if event.returncode == BAD_INPUT:
        _end(event, context)


def end_launch_on_error(event: Any, context: Any) -> None:
    """The same for a process that the launch is nothing without."""
    if event.returncode not in _STOPPED:
        _end(event, context)


def _end(event: Any, context: Any) -> None:
    if not context.is_shutdown:
        # launch logs what is raised here, stops the other processes and exits with 1
        raise RuntimeError(f"{event.process_name} cannot do what it is told to: its last lines above say why")

# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM of a process that has something to close: it ends once, however many signals come.

Ctrl-C of a `ros2 launch` reaches a node twice: the terminal signals the whole process group, and launch forwards it.
The standard library is enough here: a process calls exit_while_importing() before it imports anything else.
"""

from __future__ import annotations

import os
import signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def exit_while_importing() -> None:
    """Until a StopSignal is made a signal ends the process at once with exit code 0: nothing is open yet."""
    for number in _SIGNALS:
        signal.signal(number, lambda number, frame: os._exit(0))


class StopSignal:
    """Handles both signals, from now on: the first one counts, the others are ignored.

    raises: whether the first one raises KeyboardInterrupt where Python is. came: whether there was one; to be looked at
    in any case, for an exception that falls into a callback of native code is lost.
    """

    def __init__(self, *, raises: bool = True) -> None:
        self.came = False
        self.raises = raises
        self._before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}

    def _on_signal(self, number: int, frame: object) -> None:
        first, self.came = not self.came, True
        if first and self.raises:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raises KeyboardInterrupt if a signal came."""
        if self.came:
            raise KeyboardInterrupt

    def restore(self) -> None:
        """Gives both signals back to who handled them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ignore(self) -> None:
        """For the end of a process: Python takes its handlers away while it shuts down, and a signal would kill it."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

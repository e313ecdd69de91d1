# SPDX-License-Identifier: Apache-2.0
"""Child processes that end when their parent does, each with a log of its own.

A child gets its own process group, so that Ctrl-C reaches the parent alone, which then stops its children in order. If
the parent is killed, the kernel ends them (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_MOST_CHARS = 300
_STOP = ((signal.SIGINT, 10.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0))


class ProcessError(Exception):
    """A child that should be running has ended; the message says which, and its last words."""

    def __init__(self, name: str, code: int, log: Path) -> None:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        super().__init__(f"{name} {how}: {last_words(log)} ({log})")
        self.name = name
        self.code = code
        self.log = log


class Processes:
    """The children of one run, by name. logs: a folder, one NAME.log for each."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None, nice: int = 0) -> None:
        """nice: how much the child gives way to its siblings, 0..19."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                env=None if env is None else {**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _in_child(nice),
            )

    def ended(self, name: str) -> bool:
        """Whether a child has ended well. Raises ProcessError if it has ended otherwise."""
        code = self._running[name].poll()
        if code:
            raise ProcessError(name, code, self.log(name))
        return code == 0

    def check(self, *but: str) -> None:
        """Raises ProcessError if any child but the named ones has ended."""
        for name, process in self._running.items():
            code = process.poll()
            if code is not None and name not in but:
                raise ProcessError(name, code, self.log(name))

    def stop(self, *names: str) -> dict[str, int]:
        """Ctrl-C to the named ones at once, then more, until they and their children are gone; exit codes by name."""
        stopped = {name: process for name in names if (process := self._running.pop(name, None)) is not None}
        for what, patience in _STOP:
            for process in stopped.values():
                if process.poll() is None:
                    _signal(process, what)
            deadline = time.monotonic() + patience
            for process in stopped.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
        for process in stopped.values():
            _signal(process, signal.SIGKILL)  # what a child left of its group
        return {name: process.wait() for name, process in stopped.items()}

    def kill(self, name: str) -> None:
        """As a crash would end it."""
        process = self._running.pop(name)
        _signal(process, signal.SIGKILL)
        process.wait()

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends all at once: whoever wants an order stops them by name before."""
        self.stop(*self._running)


def last_words(log: Path) -> str:
    """The last line of a log that says something, rather than the trace that led to it."""
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1][:_MOST_CHARS]
    return "it said nothing"


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules with this Python."""
    return [sys.executable, "-u", "-m", module, *arguments]


def _in_child(nice: int) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell starts its background jobs deaf to Ctrl-C
    os.nice(nice)


def _signal(process: subprocess.Popen[bytes], what: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, what)

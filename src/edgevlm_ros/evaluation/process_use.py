# SPDX-License-Identifier: Apache-2.0
"""What a running process takes of the machine, read from /proc, so that it need not be changed to be measured."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12  # fields of /proc/PID/stat behind the command, see proc_pid_stat(5)
_IDLE = (3, 4)  # fields of /proc/stat: idle, iowait
_STOLEN = 8  # columns that count each tick once; guests' are in user and nice already


@dataclass(frozen=True, slots=True)
class Use:
    """A process at one moment.

    at: seconds on the steady clock. memory: bytes in main memory, private: those of them that are no file's and not
    shared. cpu: seconds of all its threads since its start, ended ones too. threads: seconds by thread id.
    """

    at: float
    memory: int
    private: int
    cpu: float
    threads: dict[int, float]


def process_use(pid: int) -> Use:
    """Raises OSError if there is no such process."""
    folder = Path("/proc") / str(pid)
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    threads = {}
    for task in (folder / "task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            threads[int(task.name)] = _cpu(task / "stat")
    return Use(time.monotonic(), _bytes(status, "VmRSS"), _bytes(status, "RssAnon"), _cpu(folder / "stat"), threads)


def machine_cpu() -> float:
    """CPU seconds that all cores of the machine have been busy since it started."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]][:_STOLEN]
    return (sum(ticks) - sum(ticks[column] for column in _IDLE)) / _TICKS


def busiest(before: Use, after: Use, threads: int = 1) -> float:
    """CPU seconds of so many threads, the busiest between two moments."""
    spent = sorted((cpu - before.threads.get(thread, 0.0) for thread, cpu in after.threads.items()), reverse=True)
    return sum(spent[:threads])


def _cpu(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()  # a command may hold blanks and brackets
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS


def _bytes(status: dict[str, str], name: str) -> int:
    return int(status.get(name, "0").split()[0]) * 1024

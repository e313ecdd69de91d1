# SPDX-License-Identifier: Apache-2.0
"""A fault schedule: a YAML file that says which fault happens when, for how long, and with what settings.

    - {fault: refused, at: 8, for: 6}
    - {fault: status, at: 22, for: 6, code: 429, retry_after: 2}

at, for: seconds, at from the time when the graph is up. Faults follow each other with quiet between them, since a
fault's cost is told by comparison with the quiet before and after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from chaos.faults import FAULTS, Fault, Settings
from edgevlm_ros.nearest import suggestion

LONG, SHORT = Path(__file__).with_name("schedule.yaml"), Path(__file__).with_name("short.yaml")
QUIET_S = 1.0  # before each fault, at least
TAIL_S = 3.0  # after the last one


class ScheduleError(Exception):
    """A schedule that cannot be followed; the message says where, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault of a schedule. begin, lasts: seconds; lasts is 0 for a moment. settings: all of the fault's."""

    fault: str
    begin: float
    lasts: float
    settings: Settings
    given: Settings

    @property
    def end(self) -> float:
        return self.begin + self.lasts

    @property
    def kind(self) -> Fault:
        return FAULTS[self.fault]

    @property
    def place(self) -> str:
        return self.kind.place

    @property
    def label(self) -> str:
        """The fault with what the schedule sets about it."""
        return " ".join([self.fault, *(f"{name}={value:g}" for name, value in self.given.items())])


def read_schedule(path: Path) -> list[Entry]:
    """The entries of a file, in their order. Raises ScheduleError."""
    try:
        rows = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ScheduleError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScheduleError(f"{path} is no YAML: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise ScheduleError(f"{path}: a list of faults is wanted, such as '- {{fault: refused, at: 8, for: 6}}'")
    entries = [_entry(row, f"{path.name}, entry {number}") for number, row in enumerate(rows, 1)]
    for number, (one, other) in enumerate(pairwise(entries), 2):
        if other.begin < one.end + QUIET_S:
            raise ScheduleError(
                f"{path.name}, entry {number}: {other.fault} begins at {other.begin:g}, and {one.fault} before it ends "
                f"at {one.end:g}: leave {QUIET_S:g} s of quiet between them"
            )
    return entries


def length(entries: Sequence[Entry]) -> float:
    """Seconds that a schedule takes."""
    return entries[-1].end + TAIL_S


def _entry(row: Any, where: str) -> Entry:
    if not isinstance(row, dict) or "fault" not in row:
        raise ScheduleError(f"{where}: it names no fault: {row!r}")
    name = str(row["fault"])
    if name not in FAULTS:
        raise ScheduleError(f"{where}: there is no fault {suggestion(name, FAULTS)}; `--faults` lists all")
    fault = FAULTS[name]
    known = ["fault", "at", *(["for"] if fault.lasts else []), *fault.settings]
    for key in row:
        if key not in known:
            raise ScheduleError(f"{where}: {name} has no {suggestion(str(key), known)}; it takes {', '.join(known)}")
    begin = _number(row, "at", where)
    lasts = _number(row, "for", where) if fault.lasts else 0.0
    if begin < QUIET_S or (fault.lasts and not lasts):
        raise ScheduleError(f"{where}: 'at' is {QUIET_S:g} s or more, 'for' more than 0")
    given = {key: _number(row, key, where) for key in fault.settings if key in row}
    return Entry(name, begin, lasts, {**fault.settings, **given}, given)


def _number(row: dict[str, Any], key: str, where: str) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise ScheduleError(f"{where}: {key} = {value!r}: a number from 0 on is wanted")
    return float(value)

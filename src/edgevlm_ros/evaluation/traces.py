# SPDX-License-Identifier: Apache-2.0
"""Recorded networks, read from the two formats that people have.

- CSV with the columns time,rtt_ms,up_kbps,loss (others are ignored): seconds, milliseconds, kilobits per second, and
  the share of packets lost, 0..1. Each row holds until the next; empty lines and those that begin with # are left out.
- Mahimahi (Netravali et al., USENIX ATC 2015): a line for each chance to send a packet of 1500 bytes, in milliseconds.
  It says nothing about the round trip, for which MAHIMAHI_RTT_MS is taken, and nothing about loss.

Rows that cannot be (negative, missing, not in order) are skipped, named and counted; a trace of which more rows are
wrong than right is refused.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgevlm_ros.assets import share_dir
from edgevlm_ros.evaluation.problems import Problems

COLUMNS = ("time", "rtt_ms", "up_kbps", "loss")
PACKET_BYTES = 1500
MAHIMAHI_RTT_MS = 60.0
_BIN_MS = 100  # over which the chances of a Mahimahi trace become a rate
_MAX_BYTES = 64 << 20
_LARGEST = 1e10  # of any number in a row: times may be seconds since 1970
_SHORTEST_S, _LONGEST_S = 0.1, 24 * 3600.0

_Row = TypeVar("_Row")


class TraceError(ValueError):
    """A trace that cannot be used; the message names the file, the line, and what is expected."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The network from a time on. time: seconds since the trace's beginning. loss: share of packets, 0..1."""

    time: float
    rtt_ms: float
    up_kbps: float
    loss: float


@dataclass(frozen=True, slots=True)
class Trace:
    """samples: ascending in time, the first at 0. period: seconds after which it begins again."""

    name: str
    samples: tuple[Sample, ...]
    period: float
    problems: tuple[str, ...] = ()


def traces_dir() -> Path:
    return share_dir() / "config" / "traces"


def bundled_traces() -> list[str]:
    """Names of the synthetic traces that come with the package."""
    return sorted(path.stem for path in traces_dir().glob("*.csv"))


def load_trace(name: str) -> Trace:
    """A bundled trace by its name, or a file. Raises TraceError."""
    return read_trace(traces_dir() / f"{name}.csv" if name in bundled_traces() else Path(name).expanduser())


def read_trace(path: Path) -> Trace:
    """Raises TraceError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise TraceError(f"trace {path}: larger than {_MAX_BYTES >> 20} MiB; cut it")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        known = ", ".join(bundled_traces())
        raise TraceError(f"trace {path}: cannot be read ({error.strerror}); give a file, or one of {known}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"trace {path}: no text in it; {_expected()}") from error
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1)]
    lines = [(n, line) for n, line in lines if line and not line.startswith("#")]
    if not lines:
        raise TraceError(f"trace {path}: nothing in it; {_expected()}")
    reader = _Rows(path)
    return reader.from_csv(lines) if "," in lines[0][1] else reader.from_mahimahi(lines)


class _Rows:
    """One file's rows on their way to samples."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problems = Problems()
        self._bad = 0

    def from_csv(self, lines: Sequence[tuple[int, str]]) -> Trace:
        header = [name.strip() for name in next(csv.reader([lines[0][1]]))]
        if missing := [name for name in COLUMNS if name not in header]:
            raise TraceError(
                f"trace {self._path}, line {lines[0][0]}: no column {', '.join(missing)}; "
                f"the first line must be {','.join(COLUMNS)}"
            )
        columns = [header.index(name) for name in COLUMNS]

        def sample(line: str) -> Sample:
            cells = next(csv.reader([line]))
            values = [_number(name, cells, column) for name, column in zip(COLUMNS, columns, strict=True)]
            if values[3] > 1.0:
                raise ValueError("loss is more than 1")
            return Sample(*values)

        samples = list(self._good(lines[1:], sample, after=lambda one, other: one.time > other.time))
        self._refuse_if_bad(len(samples))
        first, last = samples[0].time, samples[-1].time
        step = last - samples[-2].time if len(samples) > 1 else 1.0
        period = self._checked(last - first + step)
        moved = tuple(Sample(s.time - first, s.rtt_ms, s.up_kbps, s.loss) for s in samples)
        return Trace(self._path.stem, moved, period, self._problems.lines())

    def from_mahimahi(self, lines: Sequence[tuple[int, str]]) -> Trace:
        def chance(line: str) -> int:
            if not (line.isascii() and line.isdigit() and len(line) < 13):
                raise ValueError("its time is negative" if line.startswith("-") else "no whole number of milliseconds")
            return int(line)

        chances = list(self._good(lines, chance, after=lambda one, other: one >= other))
        self._refuse_if_bad(len(chances))
        period = chances[-1]
        self._checked(period / 1000)
        last = math.ceil(period / _BIN_MS) - 1
        counts = Counter(min(time // _BIN_MS, last) for time in chances)
        # a bin in which no packet could go lasts until the next one: a day's silence is one row
        told = sorted({0, *counts, *(index + 1 for index in counts if index < last)})
        samples = tuple(
            Sample(
                index * _BIN_MS / 1000,
                MAHIMAHI_RTT_MS,
                counts[index] * PACKET_BYTES * 8 / min(_BIN_MS, period - index * _BIN_MS),
                0.0,
            )
            for index in told
        )
        return Trace(self._path.stem, samples, period / 1000, self._problems.lines())

    def _good(
        self, lines: Sequence[tuple[int, str]], parse: Callable[[str], _Row], after: Callable[[_Row, _Row], bool]
    ) -> Iterator[_Row]:
        """The rows that can be, in order."""
        last: _Row | None = None
        for number, line in lines:
            try:
                row = parse(line)
                if last is not None and not after(row, last):
                    raise ValueError("its time is not after the one before")
            except (ValueError, csv.Error) as error:
                self._bad += 1
                self._problems.add(f"row skipped, {error}", f"line {number}")
                continue
            last = row
            yield row

    def _checked(self, period: float) -> float:
        if not _SHORTEST_S <= period <= _LONGEST_S:
            raise TraceError(f"trace {self._path}: it is {period:g} s long, not 0.1 s to a day; {_expected()}")
        return period

    def _refuse_if_bad(self, good: int) -> None:
        if good == 0 or self._bad > good:
            found = "; ".join(self._problems.lines()) or "no rows"
            raise TraceError(
                f"trace {self._path}: {self._bad} rows are wrong and {good} right ({found}); {_expected()}"
            )


def _number(name: str, cells: list[str], column: int) -> float:
    """Raises ValueError."""
    cell = cells[column].strip() if column < len(cells) else ""
    if not cell:
        raise ValueError(f"{name} is missing")
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"{name} is no number") from None
    if not math.isfinite(value) or value < 0.0:
        raise ValueError(f"{name} is negative" if value < 0.0 else f"{name} is no number")
    if value > _LARGEST:
        raise ValueError(f"{name} is too large")
    return value


def _expected() -> str:
    return f"expected CSV with {','.join(COLUMNS)}, or Mahimahi: one time in milliseconds a line"

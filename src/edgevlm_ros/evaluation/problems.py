# SPDX-License-Identifier: Apache-2.0
"""What was skipped while reading somebody's data, named and counted.

One bad line must not end an evaluation, and must not vanish either: every kind of problem is one line of a report, with
how often it happened and where it happened first.
"""

from __future__ import annotations

_PLACES = 5  # named; the others are only counted


class Problems:
    """Collects problems by kind, in the order in which the kinds first happened."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = {}

    def add(self, kind: str, place: str) -> None:
        """kind: what was skipped and why, the same words each time. place: a line number or a time."""
        self._places.setdefault(kind, []).append(place)

    def count(self, kind: str) -> int:
        return len(self._places.get(kind, ()))

    def lines(self) -> tuple[str, ...]:
        """Such as "frame skipped, its stamp does not go forward: 7 times (at 0.4 s, at 0.6 s, …)"."""
        return tuple(f"{kind}: {_times(len(places))} ({_named(places)})" for kind, places in self._places.items())


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _named(places: list[str]) -> str:
    return ", ".join(places[:_PLACES] + ["…"] * (len(places) > _PLACES))

# SPDX-License-Identifier: Apache-2.0
"""What one check found: plain data that a terminal, a script and a test can read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """name: of what was looked at. found: what is there, in a line. fix: what to do; empty if nothing is, or if
    `found` says it.
    """

    name: str
    level: Level
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Finding:
    return Finding(name, "ok", found)


def warn(name: str, found: str, fix: str) -> Finding:
    """It works, or may work, but not as well as it could."""
    return Finding(name, "warn", found, fix)


def fail(name: str, found: str, fix: str) -> Finding:
    """It does not work like this."""
    return Finding(name, "fail", found, fix)


def findings(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a check finds; that it breaks is a finding of this name."""
    try:
        yield from check()
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        yield fail(name, f"this check broke ({what})", "please report it, with what the other checks say")

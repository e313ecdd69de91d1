# SPDX-License-Identifier: Apache-2.0
"""Findings for people, as an aligned list, and for machines, as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from edgevlm_ros.doctor.finding import Finding, Level

_NAME_WIDTH = 17
_COLOURS: dict[Level, str] = {"ok": "32", "warn": "33", "fail": "31"}


def as_text(finding: Finding, width: int, colours: bool) -> str:
    """A finding in lines of at most `width` columns: what was found, and below it what to do."""
    mark = f"{finding.level:4}"
    if colours:
        mark = f"\x1b[{_COLOURS[finding.level]}m{mark}\x1b[0m"
    head = f"  {finding.level:4}  {finding.name:{_NAME_WIDTH}}  "
    room = max(width - len(head), 30)
    found = textwrap.wrap(finding.found, room, break_long_words=False, break_on_hyphens=False) or [""]
    fix = textwrap.wrap(finding.fix, room - 3, break_long_words=False, break_on_hyphens=False)
    below = " " * len(head)
    lines = [f"  {mark}{head[6:]}{found[0]}", *(below + line for line in found[1:])]
    lines += [below + ("-> " if at == 0 else "   ") + line for at, line in enumerate(fix)]
    return "\n".join(lines)


def summary(found: Iterable[Finding], unchecked: Sequence[str]) -> str:
    """The last lines: how many of each, and which options would have had more checked."""
    levels = [finding.level for finding in found]
    words = f"{levels.count('fail')} failed, {levels.count('warn')} to look at, {levels.count('ok')} fine."
    return words + (f"\nNot checked: {', '.join(unchecked)}." if unchecked else "")


def as_json(found: Mapping[str, Sequence[Finding]]) -> str:
    """{"ok": whether nothing failed, "findings": [{subject, name, level, found, fix}]}."""
    rows = [
        {"subject": subject, "name": each.name, "level": each.level, "found": each.found, "fix": each.fix}
        for subject, several in found.items()
        for each in several
    ]
    return json.dumps({"ok": all(row["level"] != "fail" for row in rows), "findings": rows}, indent=2)

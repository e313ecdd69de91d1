# SPDX-License-Identifier: Apache-2.0
"""How findings are shown."""

from __future__ import annotations

import json

from edgevlm_ros.doctor.finding import fail, ok, warn
from edgevlm_ros.doctor.report import as_json, as_text, summary


def test_lines_are_aligned_and_keep_to_the_width() -> None:
    long = fail("cloud_bridge_node", "it is " + "very " * 30 + "ill", "give it " + "more " * 30 + "rest")
    lines = "\n".join(as_text(each, 80, False) for each in (ok("a", "found"), long)).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].index("found") == lines[1].index("it is")
    assert any(line.strip().startswith("-> give it") for line in lines)


def test_colours_only_where_they_are_asked_for() -> None:
    assert "\x1b" not in as_text(warn("a", "b", "c"), 80, False)
    assert "\x1b[33mwarn\x1b[0m" in as_text(warn("a", "b", "c"), 80, True)


def test_json_says_the_same() -> None:
    told = json.loads(as_json({"dds": [ok("domain", "0"), fail("room", "none", "make some")]}))
    assert told["ok"] is False
    assert told["findings"][1] == {
        "subject": "dds",
        "name": "room",
        "level": "fail",
        "found": "none",
        "fix": "make some",
    }


def test_what_was_not_checked_is_named() -> None:
    words = summary([ok("a", "b"), warn("a", "b", "c")], ["the cloud (--cloud-url)"])
    assert "0 failed, 1 to look at, 1 fine" in words
    assert "--cloud-url" in words

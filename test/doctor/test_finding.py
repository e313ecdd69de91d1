# SPDX-License-Identifier: Apache-2.0
"""A check cannot break the doctor."""

from __future__ import annotations

from collections.abc import Iterator

from edgevlm_ros.doctor.finding import Finding, findings, ok


def test_a_check_that_breaks_is_a_finding_after_those_it_made() -> None:
    def check() -> Iterator[Finding]:
        yield ok("first", "fine")
        raise ValueError("what\nnow")

    first, broken = findings("subject", check)
    assert first == ok("first", "fine")
    assert (broken.name, broken.level) == ("subject", "fail")
    assert "ValueError: what now" in broken.found

# SPDX-License-Identifier: Apache-2.0
"""What was skipped is named and counted."""

from edgevlm_ros.evaluation.problems import Problems


def test_each_kind_is_one_line_with_its_count_and_the_first_places() -> None:
    problems = Problems()
    for line in range(7):
        problems.add("row skipped", f"line {line}")
    problems.add("gap", "3 s at 1.0 s")
    assert problems.count("row skipped") == 7
    assert problems.count("something else") == 0
    assert problems.lines() == (
        "row skipped: 7 times (line 0, line 1, line 2, line 3, line 4, …)",
        "gap: once (3 s at 1.0 s)",
    )


def test_nothing_skipped_is_nothing_to_say() -> None:
    assert Problems().lines() == ()

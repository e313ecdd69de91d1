# SPDX-License-Identifier: Apache-2.0
"""How the pace beside questions of `ask` is told; that it can be measured shows in use."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from soak.ask_pace import told


def test_each_spell_is_compared_with_the_one_before_it() -> None:
    line = told([40.0, 20.0, 10.0], [20.0, 12.0, 4.0], [20.0, 10.0, 5.0])
    assert line.startswith(
        "20.0 answers/s; beside 10.0 goals/s of ask 12.0 answers/s: 0.50 of the pace (0.40 to 0.60 in 3"
    )

# SPDX-License-Identifier: Apache-2.0
"""The parts of the graph that need no graph; the rest is in demo/test_cli.py."""

from __future__ import annotations

import socket

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.graph import UserValue, free_domain, yaml_scalar


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (3, "3"),
        (1.0, "1.0"),
        ("5", "'5'"),
        ('What\'s "that": {a}?', "'What''s \"that\": {a}?'"),
        (UserValue("[1, 2]"), "[1, 2]"),
    ],
)
def test_parameters_keep_their_type_on_a_command_line(value: object, text: str) -> None:
    assert yaml_scalar(value) == text


def test_a_domain_in_use_is_left_alone() -> None:
    first = free_domain()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
        somebody.bind(("", 7400 + 250 * first + 10))
        assert free_domain() != first

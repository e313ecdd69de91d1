# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.nodes import qos


def test_where_rclpy_does_not_say_when_a_message_was_sent_it_is_when_it_was_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(qos.Subscription, "CallbackType")
    received: list[tuple[str, dict[str, int]]] = []
    before = time.time_ns()
    qos.with_info(lambda message, info: received.append((message, info)))("hello")
    assert received[0][0] == "hello"
    assert before <= received[0][1]["source_timestamp"] <= time.time_ns()

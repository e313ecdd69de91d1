# SPDX-License-Identifier: Apache-2.0
"""What counts and rates mean in words."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from diagnostic_msgs.msg import DiagnosticStatus

from edgevlm_ros.nodes.arrivals import Arrival
from edgevlm_ros.nodes.edge_health import EdgeCounters

OK = (DiagnosticStatus.OK, "answering")


@pytest.fixture
def counters() -> EdgeCounters:
    counters = EdgeCounters()
    for second in range(5):
        counters.inference.append(1.0)
        counters.answers.add(Arrival(float(second), 0, 0))
    return counters


def test_answers_that_come_less_than_once_a_second_are_told_with_both_rates_and_what_to_do(
    counters: EdgeCounters,
) -> None:
    level, text = counters.health(frame_rate=30.0, answer_rate=0.5)
    assert level == DiagnosticStatus.WARN
    assert "0.5 answers a second and the camera 30.0 frames" in text
    assert "max_new_tokens" in text


@pytest.mark.parametrize(("frame_rate", "answer_rate"), [(30.0, 3.0), (30.0, 1.0), (0.5, 0.5), (0.9, 0.5), (30.0, 0.0)])
def test_dropped_frames_alone_and_slow_cameras_are_no_trouble(
    counters: EdgeCounters, frame_rate: float, answer_rate: float
) -> None:
    assert counters.health(frame_rate, answer_rate) == OK


def test_a_lack_of_memory_is_told_with_what_is_left_out_and_what_to_do(counters: EdgeCounters) -> None:
    level, text = counters.health(10.0, 5.0, "without a second view")
    assert level == DiagnosticStatus.WARN
    assert "answered without a second view" in text
    assert "quantization" in text


def test_frames_that_fail_in_a_row_are_worse_than_all_else(counters: EdgeCounters) -> None:
    for _ in range(2):
        counters.failed(RuntimeError())
    assert counters.health(10.0, 5.0) == OK
    counters.failed(RuntimeError("no luck"))
    level, text = counters.health(10.0, 5.0, "without history")
    assert level == DiagnosticStatus.ERROR
    assert "3 frames in a row were not answered, the last one since: no luck" in text


def test_the_metrics_count_what_nobody_asked_about_as_dropped(counters: EdgeCounters) -> None:
    counters.seen, counters.answered, counters.replaced, counters.unasked = 9, 5, 1, 3
    metrics = counters.metrics(now=5.0)
    assert (metrics.frames_seen, metrics.frames_answered, metrics.frames_dropped) == (9, 5, 4)
    assert (metrics.inference_p50, metrics.inference_p95) == (1.0, 1.0)
    assert math.isnan(metrics.context_age)

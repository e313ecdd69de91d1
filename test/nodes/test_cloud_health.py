# SPDX-License-Identifier: Apache-2.0
"""What the bridge says about the way to the cloud."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from diagnostic_msgs.msg import DiagnosticStatus

from edgevlm_ros.cloud.client import CloudResult
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.cloud.uplink import Exchange, Keyframe
from edgevlm_ros.nodes.cloud_health import CloudTally, advice
from edgevlm_ros.transfer.types import Question, Status


def never() -> Upload:
    raise AssertionError


def exchange(status: Status, error: str = "", delay: float = 1.0) -> Exchange:
    return Exchange(Keyframe(1, Question("?"), never), CloudResult(status, error, bytes_up=10), None, delay)


def said(tally: CloudTally, key_from: str = "") -> tuple[bytes, str]:
    return tally.health(now=10.0, host="127.0.0.1", key_from=key_from)


def test_before_the_first_reply_it_says_what_is_waited_for() -> None:
    tally = CloudTally()
    assert said(tally) == (DiagnosticStatus.OK, "no reply of the cloud yet: nothing was sent yet")
    tally.requests = 1
    assert said(tally) == (DiagnosticStatus.OK, "no reply of the cloud yet: its first reply is awaited")


def test_an_answer_is_told_with_its_age_and_ends_what_failed() -> None:
    tally = CloudTally()
    tally.count(exchange(Status.TIMEOUT, "too slow"), now=6.0)
    assert said(tally) == (DiagnosticStatus.WARN, "the cloud is too slow, 1 failed in a row: too slow")
    tally.count(exchange(Status.OK), now=7.5)
    assert said(tally) == (DiagnosticStatus.OK, "the cloud answered 2.5 s ago")
    metrics = tally.metrics(in_flight=1)
    assert (metrics.replies_ok, metrics.replies_failed, metrics.bytes_up, metrics.in_flight) == (1, 1, 20, 1)
    assert metrics.delay_p50 == 1.0


def test_a_failure_is_new_to_the_log_again_after_an_answer() -> None:
    tally = CloudTally()
    tally.told.add(Status.UNREACHABLE)
    tally.count(exchange(Status.UNREACHABLE), now=1.0)
    assert tally.told
    tally.count(exchange(Status.OK), now=2.0)
    assert not tally.told


def test_what_was_not_sent_does_not_hide_why_the_cloud_fails() -> None:
    tally = CloudTally()
    tally.count(exchange(Status.DROPPED, "not sent: emulated outage"), now=1.0)
    assert "a keyframe got no reply, 1 failed in a row: not sent: emulated outage" in said(tally)[1]
    tally.count(exchange(Status.UNREACHABLE, "no connection"), now=2.0)
    tally.count(exchange(Status.DROPPED, "not sent: a probe is on its way"), now=3.0)
    assert said(tally)[1].startswith("the cloud is not reachable, 3 failed in a row: no connection")


@pytest.mark.parametrize(
    ("status", "error", "host", "key_from", "words"),
    [
        (Status.UNREACHABLE, "no connection", "localhost", "", "edgevlm serve"),
        (Status.UNREACHABLE, "no connection", "cloud.example.org", "", ""),
        (Status.REJECTED, "HTTP 401: no", "cloud.example.org", "", "set api_key_env to the variable's name"),
        (Status.REJECTED, "HTTP 403", "cloud.example.org", "api_key_file = 'key'", "that of api_key_file = 'key'"),
        (Status.REJECTED, "HTTP 500", "cloud.example.org", "", ""),
        (Status.TIMEOUT, "no whole reply", "127.0.0.1", "", ""),
    ],
)
def test_the_advice_fits_the_failure(status: Status, error: str, host: str, key_from: str, words: str) -> None:
    given = advice(CloudResult(status, error), host, key_from)
    assert words in given
    assert bool(words) == bool(given)

# SPDX-License-Identifier: Apache-2.0
"""Every way in which a program ends has its exit code, and leaves Ctrl-C as it was."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.graph import GraphError
from soak.program import BAD_INPUT, FAILED, INTERRUPTED, ended


def fails(check: Callable[[], None]) -> int:
    raise GraphError("nobody answers")


def is_interrupted(check: Callable[[], None]) -> int:
    signal.raise_signal(signal.SIGINT)
    check()
    return 0


@pytest.mark.parametrize(
    ("model", "work", "code", "said"),
    [
        ("micro_svlm", lambda check: 0, 0, ""),
        ("micro_svlm", fails, FAILED, "error: nobody answers\n"),
        ("micro_svlm", is_interrupted, INTERRUPTED, "stopped: nothing is left running\n"),
        ("no_such_model", fails, BAD_INPUT, "no such folder"),
    ],
    ids=["well", "failed", "interrupted", "bad model"],
)
def test_the_exit_code_tells_how_it_ended(
    model: str, work: Callable[[Callable[[], None]], int], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert ended(model, work) == code
    assert said in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before

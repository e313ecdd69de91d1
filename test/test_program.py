# SPDX-License-Identifier: Apache-2.0
"""Every way in which a program ends has its exit code, and leaves Ctrl-C as it was."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.assets import model_path
from edgevlm_ros.graph import GraphError
from edgevlm_ros.nodes.run import BAD_START
from edgevlm_ros.processes import ProcessError
from edgevlm_ros.program import BAD_INPUT, FAILED, INTERRUPTED, CommandError, ended

Work = Callable[[Callable[[], None]], int]


def raises(error: Exception) -> Work:
    def work(check: Callable[[], None]) -> int:
        raise error

    return work


def is_interrupted(check: Callable[[], None]) -> int:
    signal.raise_signal(signal.SIGINT)
    check()
    return 0


def is_interrupted_where_nothing_raises(check: Callable[[], None]) -> int:
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:  # as a callback of native code loses it
        check()
    return 0


def takes_no_such_model(check: Callable[[], None]) -> int:
    return len(model_path("no_such_model"))


@pytest.mark.parametrize(
    ("work", "code", "said"),
    [
        (lambda check: 0, 0, ""),
        (raises(GraphError("nobody answers")), FAILED, "error: nobody answers\n"),
        (raises(ProcessError("edge_node", -9, Path("no.log"))), FAILED, "edge_node was ended by signal 9"),
        (raises(ProcessError("edge_node", BAD_START, Path("no.log"))), BAD_INPUT, "edge_node ended with exit code"),
        (raises(CommandError("not like this")), BAD_INPUT, "error: not like this\n"),
        (raises(CommandError("half of it", FAILED)), FAILED, "error: half of it\n"),
        (takes_no_such_model, BAD_INPUT, "no such folder"),
        (is_interrupted, INTERRUPTED, "stopped: nothing is left running\n"),
        (is_interrupted_where_nothing_raises, INTERRUPTED, "stopped: nothing is left running\n"),
    ],
    ids=["well", "failed", "killed", "bad start", "refused", "half", "bad model", "interrupted", "interrupt lost"],
)
def test_the_exit_code_tells_how_it_ended(work: Work, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert ended(work) == code
    assert said in capsys.readouterr().err
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

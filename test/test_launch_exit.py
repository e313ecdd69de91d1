# SPDX-License-Identifier: Apache-2.0
"""Which exit codes end a launch."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from edgevlm_ros.launch_exit import end_launch, end_launch_on_error
from edgevlm_ros.program import BAD_INPUT, FAILED, OK

RUNS, ENDS = SimpleNamespace(is_shutdown=False), SimpleNamespace(is_shutdown=True)


def exited(code: int) -> SimpleNamespace:
    return SimpleNamespace(returncode=code, process_name="edge_node-1")


def test_only_an_error_that_stays_ends_the_launch() -> None:
    for code in (OK, FAILED, -9):
        end_launch(exited(code), RUNS)
    with pytest.raises(RuntimeError, match="edge_node-1"):
        end_launch(exited(BAD_INPUT), RUNS)


def test_any_error_of_what_the_launch_is_nothing_without_ends_it() -> None:
    for code in (OK, -signal.SIGINT, -signal.SIGTERM):
        end_launch_on_error(exited(code), RUNS)
    for code in (FAILED, BAD_INPUT, -9):
        with pytest.raises(RuntimeError):
            end_launch_on_error(exited(code), RUNS)


def test_a_launch_that_ends_already_hears_of_no_error() -> None:
    end_launch(exited(BAD_INPUT), ENDS)
    end_launch_on_error(exited(FAILED), ENDS)

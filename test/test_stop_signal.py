# SPDX-License-Identifier: Apache-2.0
"""Of any number of signals the first one counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edgevlm_ros.stop_signal import StopSignal

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    stop = StopSignal()
    yield stop
    stop.restore()


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_raises_and_the_others_are_ignored(stop: StopSignal, number: int) -> None:
    stop.check()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    for other in BOTH:
        signal.raise_signal(other)
    with pytest.raises(KeyboardInterrupt):
        stop.check()


def test_a_signal_that_must_not_raise_is_known_all_the_same(stop: StopSignal) -> None:
    stop.raises = False
    signal.raise_signal(signal.SIGINT)
    stop.raises = True
    signal.raise_signal(signal.SIGINT)
    assert stop.came


def test_a_process_that_imports_ends_well_at_once() -> None:
    code = (
        "import os, signal\nfrom edgevlm_ros.stop_signal import exit_while_importing\nexit_while_importing()\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException: pass\nprint('it goes on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_signal_while_python_shuts_down_does_not_kill() -> None:
    code = (
        "import os, signal\nfrom edgevlm_ros.stop_signal import StopSignal\nstop = StopSignal()\nstop.ignore()\n"
        "class Last:\n    def __del__(self): os.kill(os.getpid(), signal.SIGINT)\nlast = Last()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stderr) == (0, "")

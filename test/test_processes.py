# SPDX-License-Identifier: Apache-2.0
"""Children end when they are told to, when they will not, and when their parent is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgevlm_ros.processes import ProcessError, Processes, last_words

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal; signal.signal(2, signal.SIG_IGN); signal.signal(15, signal.SIG_IGN);" + SLEEPER


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_up(children: Processes, name: str) -> bool:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if children.log(name).exists() and "up" in children.log(name).read_text():
            return True
        time.sleep(0.02)
    return False


def is_gone(pid: int) -> bool:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_child_that_ends_badly_is_named_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path) as children:
        children.start("node", python("import sys; print('loading'); sys.exit('no such model')"))
        with pytest.raises(ProcessError, match=r"node ended with exit code 1: no such model \(.*node.log\)") as error:
            while True:
                children.check()
        assert (error.value.name, error.value.code) == ("node", 1)


def test_ending_well_is_not_a_failure_of_those_that_may_end(tmp_path: Path) -> None:
    with Processes(tmp_path) as children:
        children.start("player", python("pass"))
        while not children.ended("player"):
            time.sleep(0.02)
        children.check("player")
        with pytest.raises(ProcessError):
            children.check()


def test_ctrl_c_stops_a_child_with_its_own_children(tmp_path: Path) -> None:
    parent = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).pid, flush=True);"
    with Processes(tmp_path) as children:
        children.start("node", python(parent + SLEEPER))
        assert is_up(children, "node")
        grandchild = int(children.log("node").read_text().split()[0])
        assert children.stop("node") == {"node": 1} or children.log("node").read_text().endswith("KeyboardInterrupt\n")
        assert is_gone(grandchild)


def test_a_child_that_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "edgevlm_ros.processes._STOP", ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 60.0))
    )
    with Processes(tmp_path) as children:
        children.start("node", python(DEAF))
        assert is_up(children, "node")
        assert children.stop("node", "unknown") == {"node": -signal.SIGKILL}


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from edgevlm_ros.processes import Processes\n"
        f"children = Processes(pathlib.Path({str(tmp_path)!r}))\n"
        f"children.start('node', [sys.executable, '-c', {'import os; print(os.getpid());' + SLEEPER!r}])\n"
        "time.sleep(600)"
    )
    parent = subprocess.Popen(python(code))
    assert is_up(Processes(tmp_path), "node")
    parent.kill()
    parent.wait()
    assert is_gone(int((tmp_path / "node.log").read_text().split()[0]))


def test_nice_children_give_way(tmp_path: Path) -> None:
    with Processes(tmp_path) as children:
        children.start("node", python("import os; print(os.nice(0), 'up')"), nice=3)
        assert is_up(children, "node")
        assert int((tmp_path / "node.log").read_text().split()[0]) == min(19, os.nice(0) + 3)


def test_last_words_of_a_silent_child(tmp_path: Path) -> None:
    assert last_words(tmp_path / "none.log") == "it said nothing"

# SPDX-License-Identifier: Apache-2.0
"""What goes from one process to the next, and a process that really replaces itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.nodes.resumption import Carried, carried_over, packed, recent, too_many, unpacked

VALUES = st.one_of(st.booleans(), st.integers(-(2**31), 2**31), st.floats(allow_nan=False), st.text(max_size=20))
CARRIED = st.builds(
    Carried,
    state=st.sampled_from(["active", "inactive", "unconfigured"]),
    parameters=st.dictionaries(st.text(max_size=9), st.one_of(VALUES, st.lists(st.text(max_size=9)))),
    questions=st.dictionaries(st.text(max_size=9), st.text()),
    contexts=st.dictionaries(st.text(max_size=9), st.binary()),
    hangs=st.lists(st.floats(0, 1e9)).map(tuple),
    why=st.text(),
)


@given(CARRIED)
def test_what_is_packed_is_unpacked_as_it_was(carried: Carried) -> None:
    assert unpacked(packed(carried)) == carried


@given(st.one_of(st.binary(), st.just(b"{}"), st.just(b"[1]"), st.just(b'{"contexts": {}, "hangs": [], "x": 1}')))
def test_what_is_no_such_thing_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        unpacked(data)


def test_three_hangs_within_ten_minutes_are_too_many() -> None:
    assert not too_many(recent((), 1000.0))
    assert not too_many(recent((950.0,), 1000.0))
    assert too_many(recent((900.0, 950.0), 1000.0))
    assert not too_many(recent((100.0, 200.0), 1000.0)), "those are long ago"
    assert not too_many(recent((2000.0, 3000.0), 1000.0)), "the steady clock began anew: the machine was restarted"


def test_an_ordinary_start_carries_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert carried_over() is None
    monkeypatch.setenv("EDGEVLM_RESUME", "99999")
    assert carried_over() is None
    assert "nothing is carried over" in capsys.readouterr().err


PROGRAM = """
import os, socket, sys, threading
from edgevlm_ros.nodes.resumption import Carried, carried_over, replace_process
carried = carried_over()
if carried is None:
    leaked = socket.socket()
    os.set_inheritable(leaked.fileno(), True)
    threading.Thread(target=lambda: threading.Event().wait(), daemon=True).start()
    print(os.getpid(), leaked.fileno(), sys.argv[1:], flush=True)
    threading.Thread(target=replace_process, args=(Carried("active", contexts={"": bytes(300000)}),)).start()
    threading.Event().wait()
kept = [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}") and int(name) > 2]
print(os.getpid(), threading.active_count(), sys.argv[1:], carried.state, len(carried.contexts[""]), kept)
print(carried_over(), "EDGEVLM_RESUME" in os.environ)
"""


def test_a_process_that_replaces_itself_keeps_its_id_and_words_and_no_thread_or_file() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--ros-args", "one"], capture_output=True, text=True, timeout=60, check=True
    )
    first, second, third = done.stdout.splitlines()
    pid, leaked = first.split()[:2]
    assert second.startswith(f"{pid} 1 ['--ros-args', 'one'] active 300000")
    assert f"'{leaked}'" not in second.rpartition("[")[2]
    assert third == "None False"

# SPDX-License-Identifier: Apache-2.0
"""What /proc says about a process, seen from the process itself and from a child."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time

import pytest

from edgevlm_ros.evaluation.process_use import Use, busiest, machine_cpu, process_use


def _work(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1000))


def test_the_time_of_a_thread_is_its_own_and_stays_with_the_process_when_it_has_ended() -> None:
    before, machine = process_use(os.getpid()), machine_cpu()
    worker = threading.Thread(target=_work, args=(0.3,))
    worker.start()
    worker.join()
    ended = process_use(os.getpid())
    assert ended.cpu - before.cpu >= 0.25
    assert busiest(before, ended) < 0.25
    _work(0.3)
    after = process_use(os.getpid())
    assert 0.25 <= busiest(ended, after) <= after.cpu - ended.cpu + 0.02
    assert machine_cpu() - machine >= 0.5


def test_memory_that_is_written_is_in_main_memory_and_private() -> None:
    before = process_use(os.getpid())
    with mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:  # malloc may have it left over
        held.write(b"1" * len(held))
        after = process_use(os.getpid())
        assert after.private - before.private >= 0.9 * len(held)
    assert after.memory >= after.private > 0


def test_the_busiest_threads_are_those_between_two_moments() -> None:
    before = Use(0.0, 1, 1, 100.0, {1: 90.0, 2: 5.0, 3: 5.0})
    after = Use(10.0, 1, 1, 114.0, {1: 91.0, 3: 9.0, 4: 8.0})
    assert busiest(before, after) == pytest.approx(8.0)
    assert busiest(before, after, 2) == pytest.approx(12.0)


def test_a_process_that_is_gone_is_an_error_of_the_system() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    with pytest.raises(OSError, match=str(child.pid)):
        process_use(child.pid)

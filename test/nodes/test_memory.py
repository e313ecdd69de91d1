# SPDX-License-Identifier: Apache-2.0
"""The process's memory is what the system says it is, and asking costs nothing."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from edgevlm_ros.nodes import memory


def test_resident_memory_is_the_systems_figure() -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    assert memory.resident() == pytest.approx(kilobytes * 1024, rel=0.05)


def test_memory_that_is_used_shows() -> None:
    before = memory.resident()
    block = bytearray(b"\1" * 64_000_000)
    assert memory.resident() - before > 50_000_000
    del block


def test_asking_for_the_gpu_neither_imports_torch_nor_wakes_a_gpu() -> None:
    code = "import sys; from edgevlm_ros.nodes import memory; print(memory.gpu(), 'torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told.split() == ["0", "False"]


# threads that allocate at the same time, each in an arena of its own as long as malloc may make another
_ARENAS = """
import ctypes, re, tempfile, threading
from edgevlm_ros.nodes import memory
{before}
barrier = threading.Barrier(5)
threads = [threading.Thread(target=lambda: (bytearray(100), barrier.wait())) for _ in range(4)]
for thread in threads: thread.start()
barrier.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(len(re.findall(r"<heap nr=", file.read().decode())))
"""


def arenas(before: str) -> int:
    code = _ARENAS.format(before=before)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
def test_importing_the_nodes_leaves_malloc_as_it_is_and_a_nodes_process_has_two_arenas() -> None:
    assert arenas("") > 2
    assert arenas("memory.limit_arenas()") == 2

# SPDX-License-Identifier: Apache-2.0
"""The process's memory is what the system says it is, and asking costs nothing."""

from __future__ import annotations

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

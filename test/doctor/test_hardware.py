# SPDX-License-Identifier: Apache-2.0
"""What is said about a machine, for machines that are not here."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.doctor import hardware
from edgevlm_ros.doctor.hardware import GIB, Gpu

ORIN = Gpu("2.8", "12.6", True, "Orin", free=8 * GIB, total=16 * GIB)


def test_this_machine_is_looked_at_whole() -> None:
    names = [finding.name for finding in hardware.check(Gpu("2.8"))]
    assert names[0] == "GPU"
    assert names[-3:] == ["cores", "memory", "hub cache"]


@pytest.mark.parametrize(
    ("gpu", "nvidia", "jetson", "level", "words"),
    [
        (None, True, False, "fail", "torch does not import"),
        (ORIN, True, True, "ok", "8.0 of 16.0 GiB free"),
        (Gpu("2.8", "12.6", True, "Orin", fault="no kernel image"), True, True, "fail", "Jetson index"),
        (Gpu("2.13+cpu"), True, True, "warn", "Jetson index"),
        (Gpu("2.13+cpu"), True, False, "warn", "built for the processor"),
        (Gpu("2.13", "13.0"), True, False, "warn", "--runtime nvidia"),
        (Gpu("2.13+cpu"), False, False, "ok", "runs on the processor"),
    ],
)
def test_a_gpu_and_a_torch_that_do_not_go_together_are_told(
    gpu: Gpu | None, nvidia: bool, jetson: bool, level: str, words: str
) -> None:
    finding = hardware.gpu_of_torch(gpu, nvidia, jetson)
    assert finding.level == level
    assert words in f"{finding.found} {finding.fix}"


def test_jetpack_6_is_taken_and_older_ones_are_not() -> None:
    six = hardware.jetpack("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: ...")
    assert (six.level, six.found) == ("ok", "L4T R36.4.3")
    assert hardware.jetpack("# R35 (release), REVISION: 4.1, GCID: 1").level == "fail"
    assert hardware.jetpack("").level == "ok"


def test_a_power_mode_below_the_full_one_is_to_look_at() -> None:
    assert hardware.power("MAXN_SUPER").level == "ok"
    assert "nvpmodel" in hardware.power("15W").fix
    assert hardware.power("").level == "warn"


def test_little_of_anything_is_to_look_at(tmp_path: Path) -> None:
    assert hardware.cores(1).level == "warn"
    assert hardware.memory(2 * GIB).level == "warn"
    assert hardware.disk(tmp_path, GIB, True).level == "warn"
    assert "HF_HOME" in hardware.disk(tmp_path, 100 * GIB, False).fix


def test_the_cache_of_the_hub_is_where_its_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert hardware.hub_cache() == Path.home() / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", "/data/hf")
    assert hardware.hub_cache() == Path("/data/hf/hub")


def test_a_gpu_without_memory_of_its_own_has_what_the_system_can_give() -> None:
    found = {"torch": "2.8", "cuda": "12.6", "available": True, "free": GIB, "total": 16 * GIB}
    assert hardware.gpu_of({**found, "integrated": True}, 9 * GIB).free == 9 * GIB
    assert hardware.gpu_of({**found, "integrated": False}, 9 * GIB).free == GIB

# SPDX-License-Identifier: Apache-2.0
"""Can this machine carry the model: GPU, processor cores, memory, disk?"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevlm_ros.doctor.finding import Finding, fail, ok, warn
from edgevlm_ros.doctor.trial import Trial, attempt
from edgevlm_ros.machine import TEGRA_RELEASE, available_memory

GIB = 2**30
_LITTLE_MEMORY, _LITTLE_DISK = 3 * GIB, 10 * GIB
_GPU = """
import torch
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "available": torch.cuda.is_available()}
if found["available"]:
    found["name"] = torch.cuda.get_device_name()
    found["free"], found["total"] = torch.cuda.mem_get_info()
    found["integrated"] = bool(torch.cuda.get_device_properties(0).is_integrated)
    try:
        torch.zeros(8, device="cuda").add(1).sum().item()
        found["fault"] = ""
    except RuntimeError as error:
        found["fault"] = str(error).splitlines()[0]
say(found)
"""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What torch says. free, total: bytes of the first GPU, 0 without one. fault: why a first computation failed.
    integrated: whether it has no memory of its own; free is then what a new process may take of the system's."""

    torch: str
    cuda: str | None = None
    available: bool = False
    name: str = ""
    free: int = 0
    total: int = 0
    fault: str = ""
    integrated: bool = False


def look() -> Gpu | None:
    """The GPU as torch sees it; None if torch does not import."""
    trial: Trial = attempt(_GPU)
    return None if trial.error else gpu_of(trial.value, available_memory())


def gpu_of(found: dict[str, Any], available: int) -> Gpu:
    """found: what torch says. available: bytes of main memory that a new process may take."""
    gpu = Gpu(**found)
    shared = gpu.integrated or (gpu.available and TEGRA_RELEASE.is_file())
    return replace(gpu, integrated=True, free=available) if shared else gpu


def check(gpu: Gpu | None) -> Iterator[Finding]:
    """gpu: see look()."""
    jetson = TEGRA_RELEASE.is_file()
    nvidia = jetson or Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    yield gpu_of_torch(gpu, nvidia, jetson)
    if jetson:
        yield jetpack(TEGRA_RELEASE.read_text(errors="replace"))
        yield power(_power_mode())
    yield cores(len(os.sched_getaffinity(0)))
    yield memory(available_memory())
    folder = hub_cache()
    yield disk(folder, shutil.disk_usage(_existing(folder)).free, os.access(_existing(folder), os.W_OK))


def gpu_of_torch(gpu: Gpu | None, nvidia: bool, jetson: bool) -> Finding:
    """nvidia: whether this machine has an NVIDIA GPU; jetson: whether it is that of a Jetson."""
    if gpu is None:
        return fail("GPU", "torch does not import, so nothing is known of it", "see torch above")
    if gpu.available:
        words = f"{gpu.name}, {gpu.free / GIB:.1f} of {gpu.total / GIB:.1f} GiB free, CUDA {gpu.cuda}"
        if gpu.fault:
            return fail(
                "GPU", f"{words}; it cannot compute: {gpu.fault}", f"a torch built for this GPU: {_wheel(jetson)}"
            )
        return ok("GPU", words)
    if not nvidia:
        return ok("GPU", f"none; torch {gpu.torch} runs on the processor")
    if gpu.cuda is None:
        return warn("GPU", f"there is one, but torch {gpu.torch} is built for the processor alone", _wheel(jetson))
    fix = "look at nvidia-smi and the driver's version; in a container: --runtime nvidia"
    return warn("GPU", f"torch {gpu.torch} (CUDA {gpu.cuda}) sees none", fix)


def _wheel(jetson: bool) -> str:
    where = "from the Jetson index" if jetson else "with CUDA"
    return f"install torch {where} (docs/install.md)"


def jetpack(release: str) -> Finding:
    """release: the text of /etc/nv_tegra_release, '# R36 (release), REVISION: 4.3, ...'."""
    words = release.replace("#", "").replace(",", " ").split()
    major = words[0] if words else "an unknown release"
    revision = words[words.index("REVISION:") + 1] if "REVISION:" in words[:-1] else "?"
    if major.startswith("R") and major[1:].isdigit() and int(major[1:]) < 36:
        return fail("JetPack", f"L4T {major}.{revision}", "JetPack 6 (R36) or later: older ones have Python 3.8")
    return ok("JetPack", f"L4T {major}.{revision}")


def power(mode: str) -> Finding:
    """mode: what `nvpmodel -q` names, empty if it says nothing."""
    hint = "sudo nvpmodel -m 0 && sudo jetson_clocks, if the battery allows"
    if not mode:
        return warn("power mode", "unknown: nvpmodel does not answer", hint)
    return (
        ok("power mode", mode)
        if mode.upper().startswith("MAXN")
        else warn("power mode", mode, f"for full speed: {hint}")
    )


def _power_mode() -> str:
    try:
        done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (line.partition("NV Power Mode:")[2].strip() for line in done.stdout.splitlines())
    return next(filter(None, lines), "")


def cores(count: int) -> Finding:
    if count < 2:
        return warn(
            "cores", "1 to use", "give this process two or more: inference keeps one busy, images and ROS another"
        )
    return ok("cores", f"{count} to use")


def memory(free: int) -> Finding:
    """free: bytes that a new process may take."""
    words = f"{free / GIB:.1f} GiB free"
    if free < _LITTLE_MEMORY:
        return warn("memory", words, "close other programs; torch and transformers take 1 GiB before any model")
    return ok("memory", words)


def hub_cache() -> Path:
    """The folder into which models of the hub are downloaded."""
    environ = os.environ
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = environ.get("HF_HOME") or f"{base}/huggingface"
    return Path(environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub").expanduser()


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))


def disk(folder: Path, free: int, writable: bool) -> Finding:
    """folder: of the hub's cache. free: bytes on its disk."""
    words = f"{free / GIB:.0f} GiB free for {folder}"
    if not writable:
        return warn("hub cache", f"{folder} cannot be written", "set HF_HOME to a folder of yours")
    if free < _LITTLE_DISK:
        return warn("hub cache", words, "a 3B model takes 7 GB: make room, or set HF_HOME to a larger disk")
    return ok("hub cache", words)

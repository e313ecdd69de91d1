# SPDX-License-Identifier: Apache-2.0
"""The memory that a model may have: that of this machine, or of one that it is meant for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.memory_need import GIB, Place, Shape, best_quantization, memory_need
from edgevlm_ros.machine import TEGRA_RELEASE, available_memory, total_memory

# Left to the system, ROS, the camera and the other nodes: a quarter, 4 GiB at most.
_SHARE, _MOST = 0.25, 4 * GIB


@dataclass(frozen=True, slots=True)
class Room:
    """place: where weights lie. total, free: bytes. name: the machine, for people."""

    place: Place
    total: int
    free: int
    name: str

    @property
    def usable(self) -> int:
        """Of the total, what a model may plan with."""
        return self.total - min(int(_SHARE * self.total), _MOST)


# What Linux sees of a Jetson's memory (tegrastats), and what of a card's is there.
MACHINES: dict[str, Room] = {
    "orin-nano-8gb": Room("jetson", int(7.4 * GIB), int(7.4 * GIB), "Jetson Orin Nano 8 GB"),
    "orin-nx-16gb": Room("jetson", int(15.3 * GIB), int(15.3 * GIB), "Jetson Orin NX 16 GB"),
    "agx-orin-32gb": Room("jetson", int(30.0 * GIB), int(30.0 * GIB), "Jetson AGX Orin 32 GB"),
    "agx-orin-64gb": Room("jetson", int(61.4 * GIB), int(61.4 * GIB), "Jetson AGX Orin 64 GB"),
    "gpu-8gb": Room("gpu", 8 * GIB, 8 * GIB, "x86 with a GPU of 8 GB"),
    "gpu-24gb": Room("gpu", 24 * GIB, 24 * GIB, "x86 with a GPU of 24 GB"),
    "cpu-16gb": Room("cpu", int(15.5 * GIB), int(15.5 * GIB), "x86 without a GPU, 16 GB"),
}
"""The memory classes that presets are chosen for."""


def room_of(device: torch.device) -> Room:
    """Of this machine."""
    if device.type != "cuda":
        return Room("cpu", total_memory(), available_memory(), "this machine without a GPU")
    properties = torch.cuda.get_device_properties(device)
    name = properties.name
    # One memory for both: what CUDA calls free does not count what the system would give back. A container on a Jetson
    # may lack the file.
    if properties.is_integrated or TEGRA_RELEASE.is_file():
        return Room("jetson", total_memory(), available_memory(), name)
    free, total = torch.cuda.mem_get_info(device)
    return Room("gpu", total, free, name)


def check_room(model: str, shape: Shape, quantization: str, room: Room, static: int = 0) -> str:
    """What to warn of, "" for nothing. static: see memory_need.

    Raises EngineError, before anything is loaded, if it can never fit.
    """
    need = memory_need(shape, quantization, room.place, static=static).total
    words = f"{model} needs about {need / GIB:.1f} GiB"
    if quantization != "none":
        words += f" as {quantization}"
    if need > room.total:
        raise EngineError(
            f"{words}, and {room.name} has {room.total / GIB:.1f} GiB: {_way_out(shape, quantization, room)}"
        )
    if need > room.free:
        return f"{words}, and {room.free / GIB:.1f} GiB are free: {_way_out(shape, quantization, room)}"
    return ""


def chosen_quantization(model: str, shape: Shape, room: Room, static: int = 0) -> str:
    """What quantization:=auto means on this machine. Raises EngineError if nothing fits."""
    best = best_quantization(shape, room.place, room.usable, static)
    if best is None and memory_need(shape, "nf4", room.place, static=static).total <= room.total:
        best = "nf4"  # nothing is left for anything else, which check_room tells
    if best is None:
        check_room(model, shape, "nf4", room, static)
        raise AssertionError
    return best


def _way_out(shape: Shape, quantization: str, room: Room) -> str:
    if quantization != "nf4" and memory_need(shape, "nf4", room.place).total <= room.usable:
        return "set quantization to nf4, or take a smaller model (edgevlm models)"
    return "take a smaller model (`edgevlm models` lists what fits), or serve it elsewhere (server_url)"

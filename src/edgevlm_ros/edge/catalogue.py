# SPDX-License-Identifier: Apache-2.0
"""The models that are ready to be taken by name, as config/models has them, and which one suits a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgevlm_ros.assets import settings_files
from edgevlm_ros.edge.memory_need import Shape, best_quantization
from edgevlm_ros.edge.room import Room

# From what answers best by its makers' benchmarks to what is smallest; not compared by us, for want of the weights.
PREFERRED = (
    "qwen2.5-vl-7b",
    "qwen3-vl-4b",
    "qwen2.5-vl-3b",
    "qwen3-vl-2b",
    "smolvlm2-2.2b",
    "llava-onevision-0.5b",
    "smolvlm2-500m",
    "smolvlm2-256m",
    "smolvlm-256m",
)
_ON_A_PROCESSOR = ("smolvlm2-256m", "smolvlm-256m")  # larger ones take many seconds for a frame (docs/models.md)


@dataclass(frozen=True, slots=True)
class Entry:
    """name: what edge_model takes. model: hub id. revision: branch, tag or commit. quantization: as the parameter."""

    name: str
    model: str
    revision: str
    quantization: str


def catalogue() -> list[Entry]:
    """Every file of config/models that names a model of the hub."""
    found = []
    for name, file in settings_files("models").items():
        values = parameters(file)
        if "model" in values:
            found.append(
                Entry(name, values["model"], values.get("revision", "main"), values.get("quantization", "none"))
            )
    return found


def pinned_revision(model: str) -> str:
    """Of a hub id, what its file in config/models pins; main where none does."""
    return next((entry.revision for entry in catalogue() if entry.model == model), "main")


def parameters(file: Path) -> dict[str, Any]:
    """Of the edge node, in a file of config/models."""
    nodes = yaml.safe_load(file.read_text())["/**"]
    values: dict[str, Any] = nodes["edge_node"]["ros__parameters"]
    return values


def suited(shapes: Mapping[str, Shape], room: Room) -> str | None:
    """Name of the model to begin with; None if none fits. shapes: by name."""
    order = _ON_A_PROCESSOR if room.place == "cpu" else PREFERRED
    fitting = (name for name in order if name in shapes)
    return next((name for name in fitting if best_quantization(shapes[name], room.place, room.usable)), None)

# SPDX-License-Identifier: Apache-2.0
"""`edgevlm models`: the models that can be taken by name, the memory that each needs, and which one fits."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgevlm_ros.edge.memory_need import Shape
    from edgevlm_ros.edge.room import Room

_CLASSES = ("orin-nano-8gb", "orin-nx-16gb", "agx-orin-32gb", "agx-orin-64gb", "gpu-8gb", "gpu-24gb", "cpu-16gb")
_EPILOG = """
Figures are GiB for everything that the engine needs (weights, KV cache with 1024 tokens of history, the work on two
views of 640x480, torch itself), by a formula: nothing is downloaded or loaded. A model may plan with what is left when
the system, ROS and the other nodes have a quarter of the memory, 4 GiB at most.

  edgevlm models                              this machine
  edgevlm models --for orin-nano-8gb          a robot that is not here
  edgevlm models --classes                    all of them beside each other
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, _EPILOG
    parser.add_argument("--for", dest="machine", choices=_CLASSES, help="another machine than this one")
    parser.add_argument("--device", default="auto", help="of this machine: auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument(
        "--classes", action="store_true", help="what each becomes on every machine of --for, in Markdown"
    )
    parser.add_argument("--json", action="store_true", help="for programs: the same as one JSON object, in bytes")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0, 1 if no model fits, or 2 for a device that is not there."""
    from edgevlm_ros.edge.engine import EngineError
    from edgevlm_ros.edge.loading import device_named
    from edgevlm_ros.edge.room import MACHINES, room_of

    if arguments.classes:
        print(classes())
        return 0
    try:
        room = MACHINES[arguments.machine] if arguments.machine else room_of(device_named(arguments.device))
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    listed = listing(room)
    print(json.dumps(listed, indent=1) if arguments.json else text(listed))
    return 0 if listed["take"] else 1


def listing(room: Room) -> dict[str, Any]:
    """Everything that is told, bytes as numbers."""
    from dataclasses import asdict

    from edgevlm_ros.edge.catalogue import catalogue, suited
    from edgevlm_ros.edge.memory_need import QUANTIZATIONS, best_quantization, memory_need
    from edgevlm_ros.edge.model_shape import shape_of_model

    entries = catalogue()
    shapes: Mapping[str, Shape] = {entry.name: shape_of_model(entry.model, entry.revision) for entry in entries}
    models = [
        {
            **asdict(entry),
            "parameters": shapes[entry.name].parameters,
            "bytes": {name: memory_need(shapes[entry.name], name, room.place).total for name in QUANTIZATIONS},
            "fits_as": best_quantization(shapes[entry.name], room.place, room.usable),
            "taken_as": _as(shapes[entry.name], room),
        }
        for entry in sorted(entries, key=lambda entry: shapes[entry.name].parameters)
    ]
    machine = {**asdict(room), "usable": room.usable}
    return {"machine": machine, "models": models, "take": suited(shapes, room)}


def classes() -> str:
    """A Markdown table: each model's memory in full precision, int8 and nf4 on a Jetson, and as what each machine
    takes it."""
    from edgevlm_ros.edge.catalogue import catalogue
    from edgevlm_ros.edge.memory_need import GIB, memory_need
    from edgevlm_ros.edge.model_shape import shape_of_model
    from edgevlm_ros.edge.room import MACHINES

    lines = [f"| `edge_model:=` | parameters | bf16 / int8 / nf4 [GiB] | {' | '.join(MACHINES)} |"]
    lines.append("|---" * (3 + len(MACHINES)) + "|")
    shapes = {entry.name: shape_of_model(entry.model, entry.revision) for entry in catalogue()}
    for name, shape in sorted(shapes.items(), key=lambda item: item[1].parameters):
        needs = [memory_need(shape, quantization, "jetson").total / GIB for quantization in ("none", "int8", "nf4")]
        cells = [_as(shape, room) for room in MACHINES.values()]
        amounts = " / ".join(f"{need:.1f}" for need in needs)
        lines.append(f"| {name} | {shape.parameters / 1e9:.2f} B | {amounts} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _as(shape: Shape, room: Room) -> str:
    """What auto takes it as, in words."""
    from edgevlm_ros.edge.memory_need import best_quantization, memory_need

    best = best_quantization(shape, room.place, room.usable)
    if best is None:
        return "nf4, tight" if memory_need(shape, "nf4", room.place).total <= room.total else "-"
    return best if best != "none" else ("fp32" if room.place == "cpu" else "bf16")


def text(listed: Mapping[str, Any]) -> str:
    """As a table for a terminal."""
    machine, full = listed["machine"], "fp32" if listed["machine"]["place"] == "cpu" else "bf16"
    head = ["edge_model:=", "parameters", full, "int8", "nf4", "taken as", "hub id"]
    rows: list[Sequence[str]] = [head]
    for model in listed["models"]:
        need = model["bytes"]
        rows.append(
            [
                model["name"],
                f"{model['parameters'] / 1e9:.2f} B",
                *(f"{need[name] / 2**30:.1f}" for name in ("none", "int8", "nf4")),
                model["taken_as"],
                model["model"],
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        f"{machine['name']}: {_gib(machine['total'])} GiB, {_gib(machine['free'])} free, {_gib(machine['usable'])} to "
        "plan with",
        "",
        *("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows),
        "",
    ]
    take = listed["take"]
    if take is None:
        return "\n".join([*lines, "None fits: serve one elsewhere (edge_model:=served, docs/models.md)."])
    best = next(model["fits_as"] for model in listed["models"] if model["name"] == take)
    quantization = f" edge_quantization:={best}" if best != "none" else ""
    lines.append(f"Begin with edge_model:={take}{quantization}; below the robot's frame rate, with a smaller one.")
    return "\n".join(lines)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f}"

# SPDX-License-Identifier: Apache-2.0
"""The files of a model's folder, as far as they can be judged without loading them.

A download that was cut, a clone without Git LFS and a folder of pickles all look like a model until minutes later, when
the loader complains about something else.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_MAX_HEADER = 100_000_000  # of the format


class WeightsError(Exception):
    """A file of weights that cannot be what it says; the message says why."""


@dataclass(frozen=True, slots=True)
class Weights:
    """files: of safetensors. elements: numbers in all of them. size: bytes on the disk. pickles: names beside them."""

    files: tuple[str, ...]
    elements: int
    size: int
    pickles: tuple[str, ...] = ()


def read_weights(folder: Path) -> Weights:
    """Raises WeightsError if one of them is missing, cut or not what it seems."""
    pickles = tuple(sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES and _is_weights(path)))
    names = _listed(folder) or sorted(path.name for path in folder.glob("*.safetensors"))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise WeightsError(f"{len(missing)} of {len(names)} files are missing, {missing[0]} for one")
    elements = sum(elements_of(folder / name) for name in names)
    return Weights(tuple(names), elements, sum((folder / name).stat().st_size for name in names), pickles)


def elements_of(file: Path) -> int:
    """Numbers in a safetensors file, by its header: 8 bytes of its length, little endian, and JSON
    (https://huggingface.co/docs/safetensors). Raises WeightsError."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        first = stream.read(8)
        length = int.from_bytes(first, "little")
        if first.startswith(b"version "):
            raise WeightsError(f"{file.name} is a Git LFS pointer, not the weights: git lfs pull")
        if size < 8 or not 2 <= length <= _MAX_HEADER:
            raise WeightsError(f"{file.name} is no safetensors file")
        if length + 8 > size:
            raise WeightsError(f"{file.name} is cut within its header, after {size} bytes")
        text = stream.read(length)
    try:
        header: dict[str, Any] = json.loads(text)
        tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
        end = max((int(tensor["data_offsets"][1]) for tensor in tensors), default=0)
        elements = sum(math.prod(int(side) for side in tensor["shape"]) for tensor in tensors)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise WeightsError(f"{file.name} is no safetensors file") from error
    if 8 + length + end != size:
        raise WeightsError(f"{file.name} has {size} bytes instead of {8 + length + end}")
    return elements


def _listed(folder: Path) -> list[str]:
    """Names in model.safetensors.index.json; empty if there is none."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        return sorted({str(name) for name in json.loads(index.read_text())["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index.name} cannot be read") from error


def _is_weights(path: Path) -> bool:
    """Trainers leave small pickles of their settings behind, which nothing here reads."""
    return path.is_file() and path.name not in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth")

# SPDX-License-Identifier: Apache-2.0
"""Rendered frames with their truth, cached on disk, drawn once and read many times.

A split is a folder: `frames.npy` (N, 240, 320, 3) uint8, `classes.npy` (N, 120, 160) uint8 and `labels.jsonl`. Frame k
depends on the split and on k only, however many processes render, and no seed is in two splits.
"""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edgevlm_ros.world.questions import Observation, observe
from edgevlm_ros.world.render import Renderer, View, require_rendering
from edgevlm_ros.world.scene import Look, Scene, random_scene

WIDTH, HEIGHT = 320, 240
FIRST_SEED: dict[Look, int] = {"train": 10_000_000, "val": 50_000_000, "test": 60_000_000}
SIZES: dict[Look, int] = {"train": 16_000, "val": 600, "test": 900}
ATTEMPTS = 100  # seeds reserved for each frame: ambiguous scenes are drawn again
CHUNK = 50


@dataclass(frozen=True, slots=True)
class Split:
    """A rendered split; the arrays are memory-mapped."""

    frames: np.ndarray
    classes: np.ndarray
    seen: list[Observation]

    def __len__(self) -> int:
        return len(self.seen)


def draw(renderer: Renderer, split: Look, index: int) -> tuple[int, Scene, View, Observation]:
    """The frame `index` of a split: the first of its seeds whose frame leaves at most one thing open."""
    first = FIRST_SEED[split] + index * ATTEMPTS
    for seed in range(first, first + ATTEMPTS):
        scene = random_scene(seed, split)
        view = renderer.render(scene)
        seen = observe(scene, view.classes)
        if len(seen.ambiguous) <= 1:
            return seed, scene, view, seen
    raise RuntimeError(
        f"none of the seeds {first} to {first + ATTEMPTS - 1} gives a frame that leaves few questions open"
    )


def render_split(folder: Path, split: Look, size: int, processes: int = 2) -> None:
    """Renders a split into folder/split; every third chunk with shadows. Raises RenderingUnavailable."""
    require_rendering()
    out = folder / split
    out.mkdir(parents=True, exist_ok=True)
    np.lib.format.open_memmap(out / "frames.npy", "w+", np.uint8, (size, HEIGHT, WIDTH, 3))
    np.lib.format.open_memmap(out / "classes.npy", "w+", np.uint8, (size, HEIGHT // 2, WIDTH // 2))
    chunks = [(out, split, start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]
    labels: list[dict[str, object]] = [{} for _ in range(size)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool, tqdm(total=size, desc=f"rendering {split}", unit="frame") as bar:
        for start, rows in pool.imap_unordered(_render_chunk, chunks):
            labels[start : start + len(rows)] = rows
            bar.update(len(rows))
    with (out / "labels.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in labels)


_renderers: dict[bool, Renderer] = {}  # of this worker process


def _render_chunk(chunk: tuple[Path, Look, int, int]) -> tuple[int, list[dict[str, object]]]:
    out, split, start, stop = chunk
    shadows = (start // CHUNK) % 3 == 0
    if shadows not in _renderers:
        _renderers[shadows] = Renderer(WIDTH, HEIGHT, shadows=shadows)
    frames = np.load(out / "frames.npy", mmap_mode="r+")
    classes = np.load(out / "classes.npy", mmap_mode="r+")
    rows = []
    for index in range(start, stop):
        seed, _, view, seen = draw(_renderers[shadows], split, index)
        frames[index] = view.rgb
        classes[index] = view.classes[1::2, 1::2]
        rows.append({"seed": seed} | asdict(seen))
    return start, rows


def load_split(folder: Path, split: Look) -> Split:
    path = folder / split
    if not (path / "labels.jsonl").is_file():
        raise FileNotFoundError(f"{path} holds no rendered frames: run `edgevlm world render` first")
    seen = []
    for line in (path / "labels.jsonl").read_text().splitlines():
        row: dict[str, Any] = json.loads(line)
        row.pop("seed")
        row["boxes"] = {subject: tuple(box) for subject, box in row["boxes"].items()}
        row["ambiguous"] = tuple(row["ambiguous"])
        seen.append(Observation(**row))
    return Split(np.load(path / "frames.npy", mmap_mode="r"), np.load(path / "classes.npy", mmap_mode="r"), seen)

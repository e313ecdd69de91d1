# SPDX-License-Identifier: Apache-2.0
"""The streams of the four datasets as rosbag2 folders: what the evidence is measured on.

A stream depends on its dataset, split and number only. No two splits share a seed or a look.
"""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edgevlm_ros.bag_metadata import IMAGE_TYPES
from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bag_writer import BagWriter
from edgevlm_ros.bags import BagReader
from edgevlm_ros.world import aisle, crossing, gesture, panel
from edgevlm_ros.world.film import RATE, film_moments
from edgevlm_ros.world.questions import DATASETS
from edgevlm_ros.world.render import Renderer, require_rendering
from edgevlm_ros.world.scene import Look
from edgevlm_ros.world.stage import Play, Script

WIDTH, HEIGHT = 320, 240
SECONDS = 60.0
JPEG_QUALITY = 85
FIRST_SEED: dict[Look, int] = {"train": 100_000_000, "val": 110_000_000, "test": 120_000_000}
MOST = 100_000  # streams of one dataset in a split
SCRIPTS: dict[str, Script] = {
    "aisle": aisle.script,
    "crossing": crossing.script,
    "gesture": gesture.script,
    "panel": panel.script,
}


def stream(dataset: str, split: Look, number: int, seconds: float = SECONDS) -> Play:
    """What happens in a stream; nothing is rendered. Raises ValueError if there is no such stream."""
    if dataset not in SCRIPTS or split not in FIRST_SEED or not 0 <= number < MOST:
        raise ValueError(
            f"no stream {number} of {dataset!r} in split {split!r}: datasets are {', '.join(DATASETS)}, splits "
            f"{', '.join(FIRST_SEED)}, numbers 0 to {MOST - 1}"
        )
    seed = FIRST_SEED[split] + DATASETS.index(dataset) * MOST + number
    return SCRIPTS[dataset](np.random.default_rng(seed), split, seconds)


def render_streams(
    out: Path, split: Look, scenes: int = 8, processes: int = 2, *, seconds: float = SECONDS
) -> list[Path]:
    """Films the first `scenes` streams of each dataset into out/split/<dataset>_<kk>; returns these folders.

    Bags that are whole are left as they are, so that a run that was stopped goes on. Raises BagError where one is in
    the way that is not whole, and RenderingUnavailable.
    """
    names = [(dataset, number) for number in range(scenes) for dataset in DATASETS]
    folder = out / split
    bags = {name: folder / f"{name[0]}_{name[1]:02d}" for name in names}
    jobs = [(bag, *name, split, seconds) for name, bag in bags.items() if not is_whole(bag, seconds)]
    if jobs:
        require_rendering()
    folder.mkdir(parents=True, exist_ok=True)
    done = len(names) - len(jobs)
    with tqdm(total=len(names), initial=done, desc=f"filming {split}", unit="stream") as bar:
        if processes > 1 and len(jobs) > 1:
            with multiprocessing.get_context("spawn").Pool(min(processes, len(jobs))) as pool:
                for _ in pool.imap_unordered(_film, jobs):
                    bar.update()
        else:
            for job in jobs:
                _film(job)
                bar.update()
    return list(bags.values())


def is_whole(bag: Path, seconds: float = SECONDS) -> bool:
    """Whether a stream is there with all its frames. Raises BagError if something else is in its place."""
    if not bag.exists():
        return False
    wanted = round(seconds * RATE)
    try:
        with BagReader(bag) as reader:
            frames = sum(topic.count for topic in reader.topics.values() if topic.type in IMAGE_TYPES)
    except BagError as error:
        raise BagError(f"{error}; remove the folder to film the stream again") from error
    if frames != wanted:
        raise BagError(f"bag {bag}: {frames} frames, not the {wanted} of a stream; remove it or name another folder")
    return True


def _film(job: tuple[Path, str, int, Look, float]) -> None:
    """Films beside the others and puts the whole bag in its place. Every third stream has shadows, as trained on."""
    bag, dataset, number, split, seconds = job
    beside = bag.parent / f".filming_{bag.name}"
    shutil.rmtree(beside, ignore_errors=True)
    play = stream(dataset, split, number, seconds)
    with Renderer(WIDTH, HEIGHT, shadows=number % 3 == 0) as renderer, BagWriter(beside / bag.name) as writer:
        moments = play.moments(seconds, RATE)
        film_moments(writer, renderer, moments, quality=JPEG_QUALITY, doubtful=False, facts=True)
    (beside / bag.name).rename(bag)
    beside.rmdir()

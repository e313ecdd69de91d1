# SPDX-License-Identifier: Apache-2.0
"""A pipeline with a real model in a process whose address space the kernel limits: frames need more than there is."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import torch

from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.types import Frame, Question

LARGE = np.random.default_rng(2).integers(0, 255, (700, 952, 3), dtype=np.uint8)
# Halved until such a frame needs more: with a quarter of its pixels it needs a quarter, or less, so none is left out.
MOST, LEAST = 1 << 27, 1 << 20
# Large blocks are the kernel's: else malloc keeps up to 64 MB of what was freed, which no limit takes away.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}


def used() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def limit(more: int | None = None) -> None:
    """Lets this process have so many bytes more than now; None for as many as it likes."""
    most = resource.RLIM_INFINITY if more is None else used() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def load(model: str) -> None:
    settings = EngineSettings(model, device="cpu", threads=1)
    limit(25_000_000)
    try:
        load_engine(settings)
    except EngineError as error:
        print(error)
    limit()
    load_engine(settings)
    print("loaded afterwards")


def answer(model: str) -> None:
    engine = load_engine(EngineSettings(model, device="cpu", threads=1, max_new_tokens=2))
    engine.architecture.processor.image_processor.size["longest_edge"] = LARGE.shape[0] * LARGE.shape[1]
    clock, more = [0.0], MOST
    pipeline = Pipeline(engine, Question("what is it?"), focus=Focus(mode="none"), clock=lambda: clock[0])
    pipeline.on_frame(Frame(0, np.ascontiguousarray(LARGE[::4, ::4])))  # what is set up once is there
    while not pipeline.left_out and more >= LEAST:
        engine.give_back()
        limit(more)
        pipeline.on_frame(Frame(1, LARGE))
        limit()
        more //= 2
    print(f"left out: {pipeline.left_out} with {2 * more >> 20} MiB")
    for second in range(2, 7):
        clock[0] += 1000.0
        pipeline.on_frame(Frame(second, np.ascontiguousarray(LARGE[::4, ::4])))
    print(f"wide again: {pipeline.left_out == ''}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"load": load, "answer": answer}[sys.argv[1]](sys.argv[2])

# SPDX-License-Identifier: Apache-2.0
"""What a frame that comes while a context is being taken in waits for it: the pipeline as it runs on a robot."""

import time
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from edgevlm_ros.evaluation.bench import LONGEST, WatchedEngine, answered, context, telling, words
from edgevlm_ros.evaluation.metrics import percentile
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.types import Frame, Image

FEWEST_FRAMES = 20  # so that a p95 means something
_MOST_FRAMES = 120
_STEP_NS = 50_000_000


def stream(engine: WatchedEngine, images: Sequence[Image], seconds: float) -> dict[str, Any]:
    """Frames back to back, and every few of them a new context of LONGEST tokens in place of one of the same length.

    Compares the frames that come while a context is being taken in with those that do not. The engine drafts as it does
    on a robot; draft_accepted is the share of drafted tokens that were right.
    """
    engine.draft = None
    images = [*images, *images[-2:0:-1]]  # forth and back, so that the scene never jumps
    shown = cycle(images)
    rule = Focus("attention", half_life=3600.0)
    pipeline = Pipeline(engine, engine.question, telling(), rule, background=True)
    quiet: list[float] = []
    during: list[float] = []
    focusing: list[float] = []
    contexts, block, stamp, drafted, accepted = 0, 4, 1_000_000_000, 0, 0

    def frame(times: list[float] | None) -> None:
        nonlocal stamp, drafted, accepted
        stamp += _STEP_NS
        answer, took = answered(pipeline, Frame(stamp, next(shown).copy()))
        if times is not None:
            times.append(took)
            focusing.append(answer.focus_time)
            drafted += engine.completion.drafted_tokens
            accepted += engine.completion.accepted_tokens

    def send() -> None:
        nonlocal contexts
        contexts += 1
        engine.taking_in.set()
        pipeline.on_context(context(engine.question, images[0], stamp, words(engine, LONGEST, contexts)))

    try:
        frame(None)
        send()
        while engine.taking_in.is_set():
            frame(None)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end and min(len(quiet), len(during)) < _MOST_FRAMES:
            for _ in range(block):
                frame(quiet)
            before = len(during)
            send()
            while engine.taking_in.is_set() and time.perf_counter() < end:
                frame(during)
            block = min(max(len(during) - before, 1), 16)
    finally:
        pipeline.close()
    return {
        "history_tokens": LONGEST,
        "contexts": contexts,
        "quiet_frames": len(quiet),
        "quiet_p50_ms": _milliseconds(quiet, 50),
        "quiet_p95_ms": _milliseconds(quiet, 95),
        "taking_in_frames": len(during),
        "taking_in_p50_ms": _milliseconds(during, 50),
        "taking_in_p95_ms": _milliseconds(during, 95),
        "focus_p50_ms": _milliseconds(focusing, 50),
        "focus_share": round(sum(focusing) / max(sum(quiet) + sum(during), 1e-9), 5),
        "draft_accepted": round(accepted / drafted, 3) if drafted else None,
    }


def _milliseconds(seconds: Sequence[float], percent: float) -> float | None:
    value = percentile(seconds, percent)
    return None if value is None else round(1e3 * value, 3)

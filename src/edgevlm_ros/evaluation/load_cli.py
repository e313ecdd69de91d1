# SPDX-License-Identifier: Apache-2.0
"""`edgevlm load`: whether the edge node keeps its model's pace behind a camera that is many times faster."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edgevlm_ros.arguments import number
from edgevlm_ros.machine import machine, versions
from edgevlm_ros.program import OK, ended
from edgevlm_ros.terminal import shown

# An answer takes 0.32 s of CPU on one core of an AMD EPYC: about 3 a second (`edgevlm load --seconds 40`, 2026-11-22).
_MODEL, _TOKENS = "smolvlm-68m", 6
_QUESTION = "What is ahead?"
_SECONDS = 60.0
_STREAM_S = number(1.0, 86400.0)
_ALONE, _ALONE_S = 0.25, 60.0  # of the stream's time, and at most
_CYCLES = 3
_EPILOG = """
The real edge node, started as on a robot, a camera with raw images and the engine alone are processes of their own in a
ROS domain that nobody else sees. The engine alone is measured before the stream and after it, on the same pictures.
Default model: random weights of the real SmolVLM architecture in a size that makes about 3 answers a second on one core
of a CPU; its answers all have the same number of tokens, and change with every picture.

In OUT: load.json (all figures and samples, what must be reached, whether it is), load.md (the same as tables), load.png
(memory and answer age over time), logs/. A missed target is no failure: the exit code is 0. Figures want a machine that
does nothing else; what others took of it meanwhile is told.

  edgevlm load                                     a minute
  edgevlm load --minutes 10                        the whole, with the growth of memory
  edgevlm load --model ~/models/SmolVLM-256M --tokens 32 --threads 0
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, _EPILOG
    add = parser.add_argument
    time_of = parser.add_mutually_exclusive_group()
    time_of.add_argument("--seconds", type=_STREAM_S, default=_SECONDS, metavar="S", help="of the stream (%(default)g)")
    time_of.add_argument("--minutes", type=_minutes, dest="seconds", metavar="M", help="the same in minutes")
    add("--model", default=_MODEL, metavar="NAME", help="bundled, folder, hub id, or a random one's size (%(default)s)")
    add("--tokens", type=int, default=_TOKENS, choices=range(1, 1025), metavar="N", help="of an answer (%(default)s)")
    add("--threads", type=int, default=1, choices=range(257), metavar="N", help="of torch, 0: its choice (%(default)s)")
    add("--rate", type=number(0.1, 1000.0), default=30.0, metavar="HZ", help="of the camera (%(default)g)")
    add("--size", type=_size, default=(640, 480), metavar="WxH", help="of its images (640x480)")
    add("--out", type=Path, default=Path("runs/load"), metavar="FOLDER", help="for the results (%(default)s)")
    add("--domain", type=int, choices=range(102), metavar="0..101", help="ROS domain; else a free one")
    parser.set_defaults(run=run)


def _minutes(text: str) -> float:
    return _STREAM_S(str(60.0 * float(text)))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    try:
        size = int(width), int(height)
    except ValueError:
        size = 0, 0
    if not all(1 <= side <= 8192 for side in size):
        raise argparse.ArgumentTypeError(f"{text}: it takes WIDTHxHEIGHT, such as 640x480")
    return size


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0 whatever the figures say, 1 for what failed, 2 for what cannot be asked for, 130 for Ctrl-C."""
    weights = arguments.out.expanduser().resolve() / ".model"
    try:
        return ended(lambda check: _run(arguments, weights, check))
    finally:
        shutil.rmtree(weights, ignore_errors=True)


def _run(arguments: argparse.Namespace, weights: Path, check: Callable[[], None]) -> int:
    from transformers.utils.logging import disable_progress_bar

    from edgevlm_ros.assets import model_path
    from edgevlm_ros.edge.random_models import SIZES, save
    from edgevlm_ros.evaluation.load import Asked

    if arguments.model not in SIZES:
        model_path(arguments.model)
    out = weights.parent
    out.mkdir(parents=True, exist_ok=True)
    disable_progress_bar()
    shutil.rmtree(out / "logs", ignore_errors=True)
    model = str(save(arguments.model, weights, ends=False)) if arguments.model in SIZES else arguments.model
    seconds, (width, height) = arguments.seconds, arguments.size
    asked = Asked(
        model, _QUESTION, arguments.tokens, arguments.threads, seconds, min(_ALONE * seconds, _ALONE_S),
        arguments.rate, width, height, _CYCLES, arguments.domain,
    )  # fmt: skip
    return _load(asked, arguments.model, out, check)


def _load(asked: Any, model: str, out: Path, check: Any) -> int:
    from edgevlm_ros.evaluation.load import measure
    from edgevlm_ros.evaluation.load_figures import doubts, figures, markdown, targets, warm_up
    from edgevlm_ros.evaluation.load_plot import draw_load

    began, average = time.monotonic(), [os.getloadavg()[0]]
    date = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    with _bar(asked.seconds + 2 * asked.alone) as bar:
        done, stage_now, in_stage = 0.0, "", 0.0

        def tell(stage: str, seconds: float) -> None:
            nonlocal done, stage_now, in_stage
            anew = stage != stage_now
            done += in_stage if anew else 0.0
            stage_now, in_stage = stage, seconds
            bar.set_description(stage, refresh=anew)
            bar.update(done + in_stage - bar.n)

        samples = measure(asked, out, check, tell)
    average.append(os.getloadavg()[0])
    found = figures(asked, samples)
    load = {
        "date": date,
        "model": model,
        "asked": {**dataclasses.asdict(asked), "model": model},
        "machine": machine(),
        "versions": versions(),
        "load_average": average,
        "seconds": round(time.monotonic() - began, 1),
        "targets": targets(asked, found),
        "figures": found,
        "doubts": doubts(asked, found),
        "samples": _samples(samples),
    }
    (out / "load.json").write_text(json.dumps(load, indent=1) + "\n")
    table = markdown(load)
    (out / "load.md").write_text(table)
    draw_load(samples, warm_up(asked.seconds), found["age_limit_ms"], out / "load.png")
    print(table)
    print(f"{shown(out / 'load.json')}, and beside it load.md, load.png")
    return OK


def _bar(seconds: float) -> Any:
    """In a terminal a live one; elsewhere a line now and then."""
    every = 0.5 if sys.stderr.isatty() else 10.0
    return tqdm(total=round(seconds), bar_format="{l_bar}{bar}| {n:.0f}/{total} s", mininterval=every)


def _samples(samples: Any) -> dict[str, Any]:
    """For load.json: seconds of the stream, memory in bytes, times in seconds."""
    began = samples.uses[0].at
    return {
        "memory": [[round(use.at - began, 2), use.memory, use.private] for use in samples.uses],
        "answers": [
            [round(value, 4) for value in (heard.at - began, heard.age, heard.inference, heard.stamp_age)]
            for heard in samples.answers
        ],
        "alone": [[round(seconds, 4) for seconds in spell.seconds] for spell in samples.alone],
    }

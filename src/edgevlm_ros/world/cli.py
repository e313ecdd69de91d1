# SPDX-License-Identifier: Apache-2.0
"""`edgevlm world`: the world that the bundled models know: render it, train them from scratch, measure, film."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from edgevlm_ros.assets import share_dir

RENDERED = Path("runs/world")
MINUTES = {"svlm": 85.0, "lvlm": 90.0}  # what the bundled models got, one core each (the LVLM at last two)
_EPILOG = """\
From nothing to both models on a 2-core CPU: `render` (6 min), then `train svlm` and `train lvlm` side by side (85 and
90 min), then `evaluate` and `bag`. Nothing is downloaded.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, _EPILOG
    commands = parser.add_subparsers(dest="world_command", required=True, metavar="COMMAND")

    render = commands.add_parser(
        "render",
        help="render the training, validation and test frames",
        description="Renders frames and their truth, the same ones every time; seeds of the splits are disjoint. "
        "Needs MuJoCo (requirements/world.txt) and OpenGL: EGL, which Mesa has without a screen or GPU "
        "(libegl1, libopengl0, libgl1-mesa-dri), or OSMesa. 3.7 GB.",
    )
    render.add_argument("--out", type=Path, default=RENDERED, help="folder for the splits (default %(default)s)")
    render.add_argument("--train", type=int, default=16_000, help="training frames (default %(default)s)")
    render.add_argument("--processes", type=int, default=2, help="renderers at work (default %(default)s)")
    render.set_defaults(run=_render)

    train = commands.add_parser(
        "train",
        help="train one of the micro models from scratch",
        description="Trains for so many minutes, whatever the machine; run again, it goes on from its checkpoint "
        "(DATA/KIND/checkpoint.pt). The model folder is usable after the first checkpoint, 150 s in.",
    )
    train.add_argument("kind", choices=("svlm", "lvlm"), help="the robot's small model, or the cloud's larger one")
    train.add_argument(
        "--data", type=Path, default=RENDERED, help="where `render` put its frames (default %(default)s)"
    )
    train.add_argument("--out", type=Path, help="model folder to write (default DATA/KIND/model)")
    train.add_argument("--minutes", type=float, help="training time, all runs together (default: svlm 85, lvlm 90)")
    train.add_argument("--threads", type=int, default=1, help="CPU threads; 1 each for both side by side (default 1)")
    train.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="begin with what fits of a saved model (default: from scratch)"
    )
    train.add_argument("--seed", type=int, default=0, help="of weights and samples (default %(default)s)")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser(
        "evaluate",
        help="measure a model on the held-out test frames",
        description="Exact match per question, alone and with a right or wrong last answer, fresh or old, and a "
        "zoomed second view, beside the share of the commonest answer. Writes metrics.json into the model's folder.",
    )
    evaluate.add_argument("kind", choices=("svlm", "lvlm"))
    evaluate.add_argument("--model", type=Path, help="model folder (default: the bundled one)")
    evaluate.add_argument("--data", type=Path, default=RENDERED, help="where `render` put its frames")
    evaluate.add_argument("--spoken", type=int, default=100, help="frames on which generate() itself is asked")
    evaluate.add_argument("--threads", type=int, default=2, help="CPU threads (default %(default)s)")
    evaluate.set_defaults(run=_evaluate)

    streams = commands.add_parser(
        "streams",
        help="film the streams that `edgevlm evaluate` measures on",
        description="Films streams of 60 s at 5 Hz of each of the four datasets (aisle, crossing, gesture, panel) as "
        "rosbag2 folders with images, question, ground truth and the facts that each answer is made of. Streams that "
        "are there already stay; no seed, texture or hue is in two splits.",
    )
    streams.add_argument("--split", choices=("test", "val", "train"), default="test", help="(default %(default)s)")
    streams.add_argument("--scenes", type=int, default=8, help="streams of each dataset (default %(default)s)")
    streams.add_argument(
        "--out", type=Path, default=RENDERED / "streams", help="folder; OUT/SPLIT/ gets the bags (default %(default)s)"
    )
    streams.add_argument("--processes", type=int, default=2, help="renderers at work (default %(default)s)")
    streams.set_defaults(run=_streams)

    bag = commands.add_parser(
        "bag",
        help="film the demo bag",
        description="A minute's drive through three aisles as a rosbag2 with image/compressed, camera_info, question "
        "and ground_truth. Another seed films other loads, machines, people and light.",
    )
    bag.add_argument("--out", type=Path, default=Path("bags/demo"), help="folder to write; must not exist yet")
    bag.add_argument("--seed", type=int, default=0, help="of the drive (default %(default)s)")
    bag.add_argument("--seconds", type=float, default=60.0, help="length (default %(default)s)")
    bag.set_defaults(run=_bag)


def _render(arguments: argparse.Namespace) -> int:
    from edgevlm_ros.world.dataset import SIZES, render_split
    from edgevlm_ros.world.render import RenderingUnavailable

    try:
        for split, size in SIZES.items():
            size = arguments.train if split == "train" else size
            render_split(arguments.out, split, size, arguments.processes)
    except RenderingUnavailable as error:
        return _complain(error)
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from edgevlm_ros.world.train import train

    out = arguments.out or arguments.data / arguments.kind / "model"
    try:
        train(
            arguments.kind,
            arguments.data,
            out,
            minutes=arguments.minutes or MINUTES[arguments.kind],
            seed=arguments.seed,
            threads=arguments.threads,
            weights=arguments.weights,
        )
    except FileNotFoundError as error:
        return _complain(error)
    print(f"{arguments.kind} saved in {out}")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    import torch

    from edgevlm_ros.world.dataset import load_split
    from edgevlm_ros.world.evaluate import evaluate

    folder = arguments.model or share_dir() / "models" / f"micro_{arguments.kind}"
    torch.set_num_threads(arguments.threads)
    try:
        report = evaluate(arguments.kind, folder, load_split(arguments.data, "test"), spoken=arguments.spoken)
    except FileNotFoundError as error:
        return _complain(error)
    report = {"date": time.strftime("%Y-%m-%d"), "split": "test"} | report
    (folder / "metrics.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    return 0


def _streams(arguments: argparse.Namespace) -> int:
    from edgevlm_ros.bag_types import BagError
    from edgevlm_ros.world.render import RenderingUnavailable
    from edgevlm_ros.world.streams import render_streams

    try:
        bags = render_streams(arguments.out, arguments.split, arguments.scenes, arguments.processes)
    except (BagError, RenderingUnavailable) as error:
        return _complain(error)
    print(f"{len(bags)} streams in {arguments.out / arguments.split}")
    return 0


def _bag(arguments: argparse.Namespace) -> int:
    from edgevlm_ros.bag_types import BagError
    from edgevlm_ros.world.render import RenderingUnavailable
    from edgevlm_ros.world.stream import film

    try:
        film(arguments.out, arguments.seed, seconds=arguments.seconds)
    except (BagError, RenderingUnavailable) as error:
        return _complain(error)
    print(f"filmed {arguments.seconds:g} s into {arguments.out}")
    return 0


def _complain(error: Exception) -> int:
    print(f"edgevlm world: {error}", file=sys.stderr)
    return 2

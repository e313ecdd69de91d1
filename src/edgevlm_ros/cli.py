# SPDX-License-Identifier: Apache-2.0
"""`edgevlm`, the one command: doctor, models, quantize, demo, evaluate, bench, load, calibrate, bag, convert and more.

A subcommand lives with its subject, in a module that offers `add_arguments(parser)`: it describes itself, takes what it
takes, and sets the default `run` to a function of the parsed arguments that returns the exit code. Only the module that
is asked for is imported, so that `edgevlm --help` needs no torch and a module whose extras are not installed breaks
nothing but itself.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from edgevlm_ros.stop_signal import exit_while_importing

COMMANDS = {
    "doctor": ("edgevlm_ros.doctor.cli", "check installation, GPU, model, camera and cloud, and say what to fix"),
    "models": ("edgevlm_ros.models_cli", "list the models that can be taken by name, and what fits this machine"),
    "quantize": ("edgevlm_ros.quantize_cli", "save a model in four or eight bits, so that a robot does not do it"),
    "demo": ("edgevlm_ros.demo.cli", "play a bag, a video or a folder of images through the whole graph"),
    "evaluate": (
        "edgevlm_ros.evaluation.evaluate_cli",
        "compare context transfer with its alternatives, at every delay, on streams or your own bag",
    ),
    "bench": ("edgevlm_ros.evaluation.bench_cli", "measure how fast frames are answered, stage by stage"),
    "load": (
        "edgevlm_ros.evaluation.load_cli",
        "measure whether the edge node keeps its model's pace behind a fast camera, and its memory",
    ),
    "calibrate": ("edgevlm_ros.evaluation.calibrate_cli", "measure how strongly attention focus may pull on a model"),
    "bag": ("edgevlm_ros.bag_cli", "look into a rosbag2, or make one from a video or a folder of images"),
    "convert": (
        "edgevlm_ros.datasets.cli",
        "make annotated bags of nuScenes, DriveLM, BDD-X, LingoQA, or a video and a CSV",
    ),
    "serve": ("edgevlm_ros.cloud.serve_cli", "serve a vision-language model with the OpenAI API"),
    "fleet": ("edgevlm_ros.evaluation.fleet_cli", "measure how many robots a server bears"),
    "world": ("edgevlm_ros.world.cli", "render the bundled world, train the bundled models, make the demo bag"),
}


def parser_for(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the subcommand that the command line names has its arguments."""
    parser = argparse.ArgumentParser(
        prog="edgevlm", description="A small VLM on the robot, corrected by one in the cloud."
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    named = next((word for word in arguments if not word.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        command = subparsers.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == named:
            importlib.import_module(module).add_arguments(command)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if list(arguments[:1]) == ["serve"]:  # as a launch file starts it
        exit_while_importing()
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130


def _run(arguments: Sequence[str]) -> int:
    try:
        parsed = parser_for(arguments).parse_args(arguments)
    except ModuleNotFoundError as error:
        print(
            f"edgevlm: this command needs the Python module {error.name!r}, which is not installed here",
            file=sys.stderr,
        )
        return 2
    return int(parsed.run(parsed) or 0)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""`edgevlm bag`: look into a rosbag2, or make one from a video or a folder of images."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

from edgevlm_ros import sources
from edgevlm_ros.assets import bag_path
from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bags import BagReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    info = actions.add_parser("info", help="topics, types, counts and rates of a bag; every message is read")
    info.add_argument("bag", help="rosbag2 folder, .mcap or .db3 file, or the name of a bundled bag")
    info.set_defaults(run=run, action=show)

    convert = actions.add_parser("convert", help="make a bag of a video file or a folder of images")
    convert.add_argument("source", help="video file or folder of images")
    convert.add_argument("bag", type=Path, help="the folder to make")
    convert.add_argument("--rate", type=_positive, default=5.0, metavar="HZ", help="frames per second (default: 5)")
    convert.add_argument("--width", type=_positive, default=640, metavar="PIXELS", help="at most (default: 640)")
    convert.add_argument("--question", default="", help="what the bag asks about its frames")
    convert.set_defaults(run=run, action=convert_source)


def run(arguments: argparse.Namespace) -> int:
    try:
        arguments.action(arguments)
    except BagError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def show(arguments: argparse.Namespace) -> None:
    with BagReader(bag_path(arguments.bag)) as bag:
        counts: dict[str, int] = defaultdict(int)
        sizes: dict[str, int] = defaultdict(int)
        for record in bag.records():
            counts[record.topic] += 1
            sizes[record.topic] += len(record.data)
        seconds = (bag.end - bag.start) / 1e9
        print(f"{bag.path}: {seconds:.1f} s, {sum(counts.values())} messages, {sum(sizes.values()) / 1e6:.1f} MB")
        if bag.unfinished:
            print("  not closed: its writer was killed, ran out of disk, or still writes; this is what can be read")
        for part in bag.left_out:
            print(f"  left out: {part}")
        width = max((len(name) for name in bag.topics), default=0)
        for topic in sorted(bag.topics.values(), key=lambda t: t.name):
            rate = (counts[topic.name] - 1) / seconds if seconds and counts[topic.name] > 1 else 0
            print(
                f"  {topic.name:{width}}  {counts[topic.name]:6}  {rate:7.2f} Hz  {sizes[topic.name] / 1e6:8.3f} MB"
                f"  {topic.type}{' (latched)' if topic.latched else ''}"
            )
        for name, packets in bag.dropped.items():
            print(f"  packets of video on {name} that show no frame: {packets}")


def convert_source(arguments: argparse.Namespace) -> None:
    count = sources.convert(arguments.source, arguments.bag, arguments.rate, round(arguments.width), arguments.question)
    print(f"{arguments.bag}: {count} frames")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value

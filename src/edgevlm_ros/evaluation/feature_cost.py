# SPDX-License-Identifier: Apache-2.0
"""What a keyframe takes on the way up and what the large model makes of it: as a JPEG, and as features of each share.

    python -m edgevlm_ros.evaluation.feature_cost runs/world/streams/val --frames 300

Every way is asked about the same frames, spread over the bags; an answer is right by its words.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from edgevlm_ros.cloud.jpeg import Upload, encode
from edgevlm_ros.evaluation.large_model import LargeModel, decoded, parsed
from edgevlm_ros.evaluation.robot import Bridge
from edgevlm_ros.evaluation.streaming import Truth, matches
from edgevlm_ros.evaluation.streams import Stream, StreamError, find_streams, open_stream

SHARES = (1.0, 0.5, 0.25, 0.1)
JPEGS = ((640, 85), (192, 85), (192, 50))
"""max_side, jpeg_quality: the bridge's defaults, then smaller ones."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way up. size: mean bytes of a keyframe, before base64. right: share of the answers. seconds: the robot's, at
    the median."""

    way: str
    size: float
    right: float
    seconds: float


def rows(large: LargeModel, frames: Sequence[tuple[Stream, Truth]], bridge: Bridge) -> list[Row]:
    """All ways, on the same frames."""
    ways: list[tuple[str, Callable[[Upload], Upload], float]] = [
        (f"JPEG, max_side {side}, quality {quality}", partial(_smaller, side, quality), 0.0) for side, quality in JPEGS
    ]
    ways += [(f"features, keep {keep:g}", _same, keep) for keep in SHARES]
    return [_row(large, frames, bridge, *way) for way in ways]


def spread(streams: Sequence[Stream], most: int) -> list[tuple[Stream, Truth]]:
    """So many frames with a truth, at even distances."""
    every = [(stream, truth) for stream in streams for truth in stream.truths]
    count = min(most, len(every))
    return [every[number * len(every) // count] for number in range(count)]


def table(found: Sequence[Row]) -> str:
    """For the documentation."""
    lines = ["| what goes up | bytes | right | seconds on the robot |", "|---|---|---|---|"]
    lines += [f"| {row.way} | {row.size:.0f} | {100 * row.right:.1f} % | {row.seconds:.4f} |" for row in found]
    return "\n".join(lines)


def _row(
    large: LargeModel,
    frames: Sequence[tuple[Stream, Truth]],
    bridge: Bridge,
    way: str,
    make: Callable[[Upload], Upload],
    keep: float,
) -> Row:
    sizes, right, seconds = [], [], []
    for stream, truth in frames:
        whole = stream.upload(truth.stamp)
        start = time.perf_counter()
        upload = make(whole)
        size = len(large.features(upload, keep) if keep else upload.jpeg)
        seconds.append(time.perf_counter() - start)
        sizes.append(size)
        spoken = large.ask(upload, truth.question.text, split=bool(keep), keep=keep or 1.0)
        reply = parsed(spoken.text, upload, bridge)
        right.append(reply is not None and matches(reply.text, truth.answer))
    return Row(way, statistics.mean(sizes), statistics.mean(right), statistics.median(seconds))


def _same(upload: Upload) -> Upload:
    return upload


def _smaller(side: int, quality: int, upload: Upload) -> Upload:
    """The frame encoded anew where it is not small enough already."""
    return upload if (side, quality) == JPEGS[0] else encode(decoded(upload), side, quality)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bags", nargs="+", help="annotated bags, or folders that hold them")
    parser.add_argument("--model", default="micro_lvlm", help="bundled model, folder or hub id (%(default)s)")
    parser.add_argument("--frames", type=int, default=300, help="(%(default)s)")
    parser.add_argument("--device", default="cpu", help="(%(default)s)")
    asked = parser.parse_args(arguments)
    try:
        streams = [open_stream(path) for path in find_streams(asked.bags)]
    except StreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    frames = spread(streams, asked.frames)
    if not frames:
        print("error: no bag has a frame with a truth: see docs/evaluation.md for annotations", file=sys.stderr)
        return 1
    bridge = Bridge()
    print(table(rows(LargeModel(asked.model, bridge, asked.device), frames, bridge)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

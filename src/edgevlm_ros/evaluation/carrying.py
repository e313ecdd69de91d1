# SPDX-License-Identifier: Apache-2.0
"""How well regions are carried, scenes told apart, and what both cost: measured on a bag with ground truth boxes.

    python -m edgevlm_ros.evaluation.carrying bags/demo

Every second frame with a box is a keyframe. Its box is carried to later frames and compared with the truth there.
"""

import argparse
import time
import timeit
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from edgevlm_ros.bags import BagReader
from edgevlm_ros.evaluation.recording import nanoseconds
from edgevlm_ros.images import to_rgb
from edgevlm_ros.tracking.glimpse import Glimpse, glimpse, similarity
from edgevlm_ros.tracking.tracks import advance, begin, regions
from edgevlm_ros.transfer.focus import CARRY_MODES, Focus, focus_map
from edgevlm_ros.transfer.history import Replacement
from edgevlm_ros.transfer.types import CloudContext, Image, Region, Status

AGES = (0.6, 1.0, 3.0, 6.0)


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A frame, what is asked of it, and the box of what that is about, if it is in view."""

    image: Image
    glimpse: Glimpse
    question: str
    box: Region | None


class Carried(NamedTuple):
    """A region some time after its keyframe. trusted: whether it would still be used. overlap: IoU with the truth, 0
    where there is none. hit: whether its middle lies in the true box. there: whether there is one."""

    trusted: bool
    overlap: float
    hit: bool
    there: bool


def read(path: Path) -> list[Moment]:
    truths = {}
    with BagReader(path) as bag:
        for record in bag.records(types=["edgevlm_msgs/msg/Annotation"]):
            truth = bag.deserialize(record)
            boxes = [(r.label, r.box.x_offset, r.box.y_offset, r.box.width, r.box.height) for r in truth.regions]
            found = [Region(label, 1.0, x, y, x + w, y + h) for label, x, y, w, h in boxes]
            truths[nanoseconds(truth.header.stamp)] = (truth.question, found[0] if found else None)
        moments = []
        for record in bag.records(topics=[bag.image_topic().name]):
            message = bag.deserialize(record)
            stamp, image = nanoseconds(message.header.stamp), to_rgb(message)
            if stamp in truths:
                moments.append(Moment(image, glimpse(stamp, image), *truths[stamp]))
    return moments


def carry(moments: list[Moment], method: str, rule: Focus) -> Iterator[tuple[float, Carried]]:
    """Age in seconds and outcome of each region that was carried that long."""
    for start, keyframe in enumerate(moments):
        if start % 2 or keyframe.box is None:
            continue
        height, width = keyframe.image.shape[:2]
        context = CloudContext(keyframe.glimpse.stamp, 0, 0, Status.OK, "", (keyframe.box,), width, height)
        tracks, previous = begin(context, keyframe.glimpse), keyframe.glimpse
        for moment in moments[start + 1 :]:
            age = round((moment.glimpse.stamp - context.stamp) * 1e-9, 1)
            if moment.question != keyframe.question or age > AGES[-1]:
                break
            tracks, previous = advance(tracks, previous, moment.glimpse, method), moment.glimpse
            if age not in AGES:
                continue
            trusted = bool(regions(tracks, moment.glimpse.stamp, width, height, rule))
            here = np.clip(tracks.boxes[0], 0.0, 1.0) * (width, height, width, height)
            yield age, Carried(trusted, *_compared(here.tolist(), moment.box))


def _compared(box: list[float], truth: Region | None) -> tuple[float, bool, bool]:
    if truth is None:
        return 0.0, False, False
    x0, y0, x1, y1 = box
    width, height = min(x1, truth.x1) - max(x0, truth.x0), min(y1, truth.y1) - max(y0, truth.y0)
    both = max(width, 0.0) * max(height, 0.0)
    union = (x1 - x0) * (y1 - y0) + (truth.x1 - truth.x0) * (truth.y1 - truth.y0) - both
    hit = truth.x0 <= (x0 + x1) / 2 <= truth.x1 and truth.y0 <= (y0 + y1) / 2 <= truth.y1
    return both / max(union, 1e-9), hit, True


def print_carrying(moments: list[Moment]) -> None:
    print(
        "| carry | age | in view | IoU | middle hits | of these trusted | off it of trusted | gone | of those trusted |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for method in CARRY_MODES:
        outcomes = list(carry(moments, method, Focus(carry=method)))
        for age in AGES:
            seen = [outcome for when, outcome in outcomes if when == age and outcome.there]
            gone = [outcome for when, outcome in outcomes if when == age and not outcome.there]
            cells = (
                f"{age:.1f} s",
                len(seen),
                f"{np.mean([outcome.overlap for outcome in seen]):.2f}",
                _share(outcome.hit for outcome in seen),
                _share(outcome.trusted for outcome in seen if outcome.hit),
                _share(not outcome.hit for outcome in seen if outcome.trusted),
                len(gone),
                _share(outcome.trusted for outcome in gone),
            )
            print("|", method, "|", " | ".join(map(str, cells)), "|")


def _share(of: Iterator[bool]) -> str:
    values = list(of)
    return f"{sum(values) / len(values):.0%}" if values else "-"


def print_similarity(moments: list[Moment]) -> None:
    same, other = [], []
    for one, two in combinations(moments[::2], 2):
        alike = similarity(one.glimpse, two.glimpse)
        if one.question != two.question:
            other.append(alike)
        elif two.glimpse.stamp - one.glimpse.stamp <= 6e9:
            same.append(alike)
    limit = Replacement().min_similarity
    for name, values in (("same place, up to 6 s apart", same), ("another place", other)):
        low, middle, high = np.quantile(values, [0, 0.5, 1])
        share = np.mean(np.array(values) < limit)
        print(f"{name}: similarity {low:.2f} .. {middle:.2f} .. {high:.2f}; {share:.1%} are below {limit}")


def print_cost(moments: list[Moment]) -> None:
    cv2.setNumThreads(1)
    for count in (1, 4, 16):
        frame = partial(_frame, moments[20], moments[21], count)
        seconds = min(timeit.repeat(frame, timer=time.process_time, number=20, repeat=10)) / 20
        print(f"glimpse to focus map, {count} regions: {seconds * 1e3:.2f} ms of one core")


def _frame(then: Moment, now: Moment, count: int) -> None:
    """All that is done on a frame to carry regions and to build the map."""
    (height, width), stamp, rule = now.image.shape[:2], now.glimpse.stamp, Focus(mode="attention+crop")
    boxes = tuple(Region("", 1.0, 60 + 20 * i, 150 + 2 * i, 180 + 20 * i, 300 + 2 * i) for i in range(count))
    context = CloudContext(then.glimpse.stamp, 0, 0, Status.OK, "", boxes, width, height)
    seen = glimpse(stamp, now.image)
    similarity(then.glimpse, seen)
    tracks = advance(begin(context, then.glimpse), then.glimpse, seen, rule.carry)
    focus_map(regions(tracks, stamp, width, height, rule), stamp, width, height, (5, 6), rule)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", type=Path)
    arguments = parser.parse_args()
    moments = read(arguments.bag)
    print_carrying(moments)
    print_similarity(moments)
    print_cost(moments)


if __name__ == "__main__":
    main()

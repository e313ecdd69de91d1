# SPDX-License-Identifier: Apache-2.0
"""How well regions are carried, scenes told apart, and what both cost: measured on frames with ground truth boxes.

    python -m edgevlm_ros.evaluation.carrying bags/demo
    python -m edgevlm_ros.evaluation.carrying vtest.avi

Of a bag, every second frame with a box is a keyframe. Its box is carried to later frames and compared with the truth
there. vtest.avi is OpenCV's video of people in a street (Debian: opencv-doc), with a person's box at each keyframe, one
every half second; it is taken as it is, and through a window that moves over it as a turning camera would.
"""

import argparse
import csv
import math
import time
import timeit
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.assets import share_dir
from edgevlm_ros.bags import BagReader
from edgevlm_ros.evaluation.recording import nanoseconds
from edgevlm_ros.images import to_rgb
from edgevlm_ros.tracking.glimpse import Glimpse, glimpse, similarity
from edgevlm_ros.tracking.tracks import Tracks, advance, begin, regions
from edgevlm_ros.transfer.focus import CARRY_MODES, Focus, focus_map
from edgevlm_ros.transfer.history import Replacement
from edgevlm_ros.transfer.types import CloudContext, Image, Region, Status

AGES = (0.6, 1.0, 3.0, 6.0)
BOXES = share_dir() / "docs" / "evidence" / "vtest_boxes.csv"
_SHARE_IN_VIEW = 0.25  # of a box; with less it counts as gone


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A frame, what is asked of it, and the box of what that is about, if it is in view."""

    size: tuple[int, int]
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
                moments.append(Moment(_size(image), glimpse(stamp, image), *truths[stamp]))
    return moments


def _size(image: Image) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def read_video(video: Path, boxes: Path, moving: bool) -> list[list[Moment]]:
    """The frames on which each person is tracked, and on to the last one if the person has left the view by then.

    boxes: CSV of person, frame, x0, y0, x1, y1; in between they are interpolated. moving: through the moving window.
    """
    people: dict[str, list[list[float]]] = {}
    with boxes.open(newline="") as file:
        for person, *row in list(csv.reader(file))[1:]:
            people.setdefault(person, []).append([float(value) for value in row])
    paths = {person: np.array(rows) for person, rows in people.items()}
    moments: dict[str, list[Moment]] = {person: [] for person in paths}
    capture = cv2.VideoCapture(str(video))
    rate = capture.get(cv2.CAP_PROP_FPS)
    for number in range(int(capture.get(cv2.CAP_PROP_FRAME_COUNT))):
        image = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
        x0, y0, x1, y1 = _window(number / rate, *_size(image)) if moving else (0, 0, *_size(image))
        view = np.ascontiguousarray(image[y0:y1, x0:x1])
        seen = glimpse(round(number / rate * 1e9), view)
        for person, path in paths.items():
            box = np.array([np.interp(number, path[:, 0], path[:, side]) for side in range(1, 5)])
            inside = _inside(person, box - (x0, y0, x0, y0), *_size(view))
            if path[0, 0] <= number and (number <= path[-1, 0] or inside is None):
                moments[person].append(Moment(_size(view), seen, person, inside))
    return list(moments.values())


def _inside(label: str, box: NDArray[np.float64], width: int, height: int) -> Region | None:
    x0, y0, x1, y1 = box.tolist()
    region = Region(label, 1.0, max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height))
    seen = max(region.x1 - region.x0, 0.0) * max(region.y1 - region.y0, 0.0)
    return region if seen >= _SHARE_IN_VIEW * (x1 - x0) * (y1 - y0) else None


def _window(seconds: float, width: int, height: int) -> tuple[int, int, int, int]:
    """Two thirds of the picture, through which a camera turns by up to a quarter of its view in a second."""
    side = 2 / 3 * (1 + 0.1 * math.sin(2 * math.pi * seconds / 7))
    x = (1 - side) * width * (1 + math.sin(2 * math.pi * seconds / 8)) / 2
    y = (1 - side) * height * (1 + math.sin(2 * math.pi * seconds / 11)) / 2
    return round(x), round(y), round(x + side * width), round(y + side * height)


def carry(moments: list[Moment], method: str, rule: Focus, every: int = 2) -> Iterator[tuple[float, Carried]]:
    """Age in seconds and outcome of each region that was carried that long. every: how many frames to a keyframe."""
    for start, keyframe in enumerate(moments):
        if start % every or keyframe.box is None:
            continue
        width, height = keyframe.size
        context = CloudContext(keyframe.glimpse.stamp, 0, 0, Status.OK, "", (keyframe.box,), width, height)
        tracks, previous = begin(context, keyframe.glimpse), keyframe.glimpse
        for moment in moments[start + 1 :]:
            age = round((moment.glimpse.stamp - context.stamp) * 1e-9, 1)
            if moment.question != keyframe.question or age > AGES[-1]:
                break
            tracks, previous = advance(tracks, previous, moment.glimpse, method), moment.glimpse
            if age not in AGES:
                continue
            trusted = bool(regions(tracks, moment.glimpse.stamp, *moment.size, rule))
            width, height = moment.size
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


def print_carrying(streams: list[list[Moment]], methods: Sequence[str] = CARRY_MODES, every: int = 2) -> None:
    print(
        "| carry | age | in view | IoU | middle hits | of these trusted | off it of trusted | gone | of those trusted |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for method in methods:
        outcomes = [one for moments in streams for one in carry(moments, method, Focus(carry=method), every)]
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


def print_cost(path: Path) -> None:
    cv2.setNumThreads(1)
    with BagReader(path) as bag:
        images = [to_rgb(bag.deserialize(r)) for r in islice(bag.records(topics=[bag.image_topic().name]), 20, 23)]
    for count in (1, 4, 16):
        boxes = tuple(Region("", 1.0, 60 + 20 * i, 150 + 2 * i, 180 + 20 * i, 300 + 2 * i) for i in range(count))
        context = CloudContext(0, 0, 0, Status.OK, "", boxes, *_size(images[0]))
        keyframe, before = (glimpse(round(i * 0.2e9), image) for i, image in enumerate(images[:2]))
        rule = Focus(mode="attention+crop")
        tracks = advance(begin(context, keyframe), keyframe, before, rule.carry)
        frame = partial(_frame, tracks, before, images[2], rule)
        seconds = min(timeit.repeat(frame, timer=time.process_time, number=20, repeat=10)) / 20
        print(f"glimpse to focus map, {count} regions: {seconds * 1e3:.2f} ms of one core")


def _frame(tracks: Tracks, before: Glimpse, image: Image, rule: Focus) -> None:
    """All that is done on a frame to carry regions and to build the map."""
    (width, height), stamp = _size(image), before.stamp + round(0.2e9)
    seen = glimpse(stamp, image)
    similarity(before, seen)
    carried = regions(advance(tracks, before, seen, rule.carry), stamp, width, height, rule)
    focus_map(carried, stamp, width, height, (5, 6), rule)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a bag with annotations, or vtest.avi")
    source = parser.parse_args().source
    if source.suffix == ".avi":
        for moving in (False, True):
            print("moving camera:" if moving else "standing camera:")
            print_carrying(read_video(source, BOXES, moving), ("flow",), every=5)
        return
    moments = read(source)
    print_carrying([moments])
    print_similarity(moments)
    print_cost(source)


if __name__ == "__main__":
    main()

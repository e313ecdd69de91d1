# SPDX-License-Identifier: Apache-2.0
"""A bag as an evaluation needs it: frames in time, the question that stands at each, and what is true.

Bags of the world hold all of that. Those of a robot hold images, perhaps questions, and faults: clocks that jump, gaps,
files that end in the middle. What can be left out is left out, named and counted in `Stream.problems`; what leaves
nothing to evaluate is a StreamError, which says what to do.
"""

from __future__ import annotations

import re
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bags import BagReader
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.evaluation.annotations import AnnotationsError, read_annotations
from edgevlm_ros.evaluation.problems import Problems
from edgevlm_ros.evaluation.recording import nanoseconds
from edgevlm_ros.evaluation.stream_images import StreamImages
from edgevlm_ros.evaluation.stream_log import BACKWARDS, StreamLog
from edgevlm_ros.evaluation.streaming import Truth, normalised
from edgevlm_ros.transfer.types import Frame, Question

ANNOTATIONS = "annotations.jsonl"
_GAP_PERIODS, _GAP_S = 5.0, 1.0  # a gap is longer than both
_Changes = tuple[tuple[int, Question], ...]  # from which frame's stamp on which question stands


class StreamError(Exception):
    """A bag that cannot be evaluated; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class FactValue:
    """One of the things that a frame's answer is made of. object_id: which individual thing of the stream, 0: none.

    size: height of the part that tells it, as a fraction of the image's height. edge_sees, cloud_sees: whether it can
    be resolved at the SVLM's and at the LVLM's input size.
    """

    name: str
    value: str
    object_id: int
    size: float
    edge_sees: bool
    cloud_sees: bool


@dataclass(frozen=True, eq=False)
class Stream:
    """One bag. dataset: its folder's name up to the last "_<digits>".

    stamps: capture times of the frames, nanoseconds, ascending. questions: from which frame's stamp on which question
    stands; frames before the first one are asked nothing. truths: of frames with an honest question, in order.
    facts: by the frame's stamp; may be empty. problems: what was left out, named and counted.
    """

    name: str
    dataset: str
    path: Path
    stamps: tuple[int, ...]
    questions: tuple[tuple[int, Question], ...]
    truths: tuple[Truth, ...]
    facts: Mapping[int, tuple[FactValue, ...]]
    problems: tuple[str, ...]
    images: StreamImages = field(repr=False)

    def frame(self, stamp: int) -> Frame:
        """The frame that was captured at this time, decoded anew each time. KeyError if there is none."""
        return self.images.frame(stamp)

    def upload(self, stamp: int) -> Upload:
        """What the bridge would send of this frame, at its default settings."""
        return self.images.upload(stamp)

    def jpeg_bytes(self, stamp: int) -> int:
        """The size of that upload's JPEG."""
        return self.images.jpeg_bytes(stamp)

    def question_at(self, stamp: int) -> Question | None:
        """The question that stands at a time; None before the first."""
        return _standing(self.questions, stamp)

    @property
    def period(self) -> float:
        """The usual time from one frame to the next, seconds."""
        return _period(self.stamps) / 1e9

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last one's period."""
        return (self.stamps[-1] - self.stamps[0]) / 1e9 + self.period


def find_streams(paths: Iterable[str | Path]) -> list[Path]:
    """The bags that are named, and those in the folders that are named, sorted within each. Raises StreamError."""
    found: list[Path] = []
    for path in (Path(path).expanduser() for path in paths):
        if not path.exists():
            raise StreamError(f"{path}: no such bag or folder")
        inside = [path] if path.is_file() else sorted(file.parent for file in path.rglob("metadata.yaml"))
        if not inside:
            raise StreamError(f"{path}: neither a rosbag2 nor a folder that holds one (there is no metadata.yaml)")
        found += inside
    return list(dict.fromkeys(found))


def dataset_of(path: Path) -> str:
    """aisle for .../aisle_03; the whole name where it does not end in a number."""
    return re.sub(r"(?<=.)_\d+$", "", _name(path))


def open_stream(
    path: str | Path, *, question: str = "", annotations: Path | None = None, image_topic: str = ""
) -> Stream:
    """Read a bag. Raises StreamError.

    question: asked throughout, instead of what the bag asks. annotations: a file as in annotations.py, instead of the
    bag's own truths; an annotations.jsonl in the bag's folder is taken by itself. image_topic: the camera's, needed
    where a bag has several. Every frame is decoded once, so that a damaged one is found here and not in the middle.
    """
    path = Path(path).expanduser()
    problems = Problems()
    try:
        with ExitStack() as opened:
            log = StreamLog(_open(path, opened), image_topic, problems)
        if len(log.stamps) < 2 or problems.count(BACKWARDS) > len(log.stamps):
            raise StreamError(_unusable(path, len(log.stamps), problems))
        _note_gaps(log.stamps, problems)
        given = annotations or path / ANNOTATIONS
        truths = _annotated(given, log, problems) if annotations or given.is_file() else _truths(log, problems)
    except (BagError, AnnotationsError) as error:
        raise StreamError(str(error)) from error
    questions = _questions(path, question, log, truths, problems)
    return Stream(
        name=_name(path),
        dataset=dataset_of(path),
        path=path,
        stamps=tuple(log.stamps),
        questions=questions,
        truths=_asked(truths, questions, log, problems),
        facts=_facts(log, questions, problems),
        problems=problems.lines(),
        images=log.images,
    )


def _open(path: Path, opened: ExitStack) -> BagReader:
    try:
        return opened.enter_context(BagReader(path))
    except BagError as error:
        advice = f"; if its recording broke off, mend it: `mcap recover` or `ros2 bag reindex {path}`"
        raise StreamError(f"{str(error).rstrip('.')}{advice if path.exists() else ''}") from error


def _truths(log: StreamLog, problems: Problems) -> list[Truth]:
    """What the bag's own annotations say about its frames, in order."""
    frames = set(log.stamps)
    found: dict[tuple[int, str], Truth] = {}
    for message in log.annotations:
        stamp = nanoseconds(message.header.stamp)
        truth = Truth(stamp, Question(message.question), message.answer)
        if stamp not in frames:
            problems.add("annotation of a frame that is not there, skipped", log.place(stamp))
        elif not normalised(truth.answer):
            problems.add("annotation without an answer, skipped", log.place(stamp))
        elif found.setdefault((stamp, message.question), truth) != truth:
            problems.add("second annotation of a frame, with another answer, skipped", log.place(stamp))
    return sorted(found.values(), key=lambda truth: truth.stamp)


def _facts(log: StreamLog, questions: _Changes, problems: Problems) -> dict[int, tuple[FactValue, ...]]:
    """By the frame's stamp, those that the standing question is about."""
    frames = set(log.stamps)
    facts: dict[int, tuple[FactValue, ...]] = {}
    for message in log.facts:
        stamp = nanoseconds(message.header.stamp)
        standing = _standing(questions, stamp)
        if stamp not in frames:
            problems.add("facts of a frame that is not there, skipped", log.place(stamp))
        elif standing is None or standing.id != message.question_id:
            problems.add("facts about a question that does not stand, skipped", log.place(stamp))
        else:
            facts[stamp] = tuple(map(_fact, message.facts))
    return facts


def _fact(message: Any) -> FactValue:
    return FactValue(
        name=message.name,
        value=message.value,
        object_id=int(message.object_id),
        size=float(message.size),
        edge_sees=bool(message.edge_sees),
        cloud_sees=bool(message.cloud_sees),
    )


def _annotated(file: Path, log: StreamLog, problems: Problems) -> list[Truth]:
    """A file's annotations as truths of the frames in their ranges, in order."""
    first, length = log.stamps[0], (log.stamps[-1] - log.stamps[0] + _period(log.stamps)) / 1e9
    truths = []
    for annotation in read_annotations(file, length, problems):
        since, until = (first + round(seconds * 1e9) for seconds in (annotation.since, annotation.until))
        covered = log.stamps[bisect_left(log.stamps, since) : bisect_left(log.stamps, until)]
        if not covered:
            problems.add("annotation between two frames, skipped", f"line {annotation.line}")
        truths += [Truth(stamp, annotation.question, annotation.answer) for stamp in covered]
    return sorted(truths, key=lambda truth: truth.stamp)


def _questions(path: Path, wanted: str, log: StreamLog, truths: list[Truth], problems: Problems) -> _Changes:
    """The question that was named, else those that the bag asks, else those that its annotations answer."""
    if wanted.strip():
        return ((log.stamps[0], Question(wanted)),)
    asked: list[tuple[int, Question]] = []
    for recorded, question in log.questions:
        stamp = log.frame_after(recorded)
        if stamp is None:
            problems.add("question after the last frame, skipped", repr(question.text))
        else:
            asked.append((stamp, question))
    if not asked:
        _check_unambiguous(path, truths)
        asked = [(truth.stamp, truth.question) for truth in truths]
    if not asked:
        raise StreamError(f'bag {path}: nothing is asked in it; name a question: --question "What is ahead?"')
    changes: list[tuple[int, Question]] = []
    for stamp, question in asked:
        if changes and changes[-1][0] == stamp:
            changes.pop()  # replaced before a frame came
        if not changes or changes[-1][1] != question:
            changes.append((stamp, question))
    return tuple(changes)


def _check_unambiguous(path: Path, truths: list[Truth]) -> None:
    for one, other in pairwise(truths):
        if one.stamp == other.stamp:
            raise StreamError(
                f"bag {path}: asks nothing itself, and its annotations answer two questions about one frame "
                f"({one.question.text!r}, {other.question.text!r}): choose one with --question"
            )


def _asked(truths: list[Truth], questions: _Changes, log: StreamLog, problems: Problems) -> tuple[Truth, ...]:
    """The truths about the question that stands at their frame, in its very words."""
    kept = []
    for truth in truths:
        standing = _standing(questions, truth.stamp)
        if standing is None or normalised(standing.text) != normalised(truth.question.text):
            problems.add("truth about a question that does not stand, skipped", log.place(truth.stamp))
        else:
            kept.append(Truth(truth.stamp, standing, truth.answer))
    return tuple(kept)


def _standing(questions: _Changes, stamp: int) -> Question | None:
    at = bisect_right(questions, stamp, key=lambda change: change[0])
    return questions[at - 1][1] if at else None


def _note_gaps(stamps: list[int], problems: Problems) -> None:
    longest = max(_GAP_PERIODS * _period(stamps), _GAP_S * 1e9)
    for before, after in pairwise(stamps):
        if after - before > longest:
            place = f"{(after - before) / 1e9:.1f} s at {(before - stamps[0]) / 1e9:.1f} s"
            problems.add("gap between two frames, nothing is answered in it", place)


def _unusable(path: Path, frames: int, problems: Problems) -> str:
    advice = "set the camera driver's clock right, or cut the bag where it jumps: ros2 bag convert"
    found = "; ".join(problems.lines())
    return f"bag {path}: only {frames} frames can be used{f' ({found})' if found else ''}; {advice}"


def _period(stamps: Iterable[int]) -> float:
    """The usual time from one frame to the next, nanoseconds."""
    return statistics.median(after - before for before, after in pairwise(stamps))


def _name(path: Path) -> str:
    """Of a bag: its folder's, or its file's without the ending."""
    resolved = path.resolve()
    return resolved.stem if resolved.is_file() else resolved.name

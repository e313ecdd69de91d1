# SPDX-License-Identifier: Apache-2.0
"""BDD-X: what a driver does and why, second by second, about videos of Berkeley DeepDrive.

Format: JinkyuKimUCB/BDD-X-dataset, BDD-X-Annotations_v1.csv: a row per annotator and video, with Input.Video (a URL; of
nearly half of the rows it is empty) and up to 15 times Answer.<n>start, end (whole seconds), action and justification.
Most actions begin in the second after the last one's end, so the second in which a span ends is its own.

Videos are numbered as JinkyuKimUCB/explainable-deep-driving, Step1_preprocessing.py, counts rows, and as the lists of
splits beside the annotations (train.txt, val.txt, test.txt) name them: 5595_22b4f5e6-8ad80525.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgevlm_ros.datasets.clip import EPOCH, Answer, Clip, DatasetError
from edgevlm_ros.datasets.tables import Row, csv_rows
from edgevlm_ros.datasets.video_questions import number, video_clip
from edgevlm_ros.evaluation.problems import Problems
from edgevlm_ros.nearest import suggestion

WHAT, WHY = "What is the car doing?", "Why is the car doing that?"
"""Ours: BDD-X has answers and no questions."""

_SLOTS = range(1, 16)
_FIRST = [f"Answer.1{what}" for what in ("start", "end", "action", "justification")]
_NUMBER = re.compile(r"^\d+_")  # of a video, in the lists of splits
_SECOND = 1.0
_SUFFIXES = (".mov", ".mp4", ".avi", ".mkv")


def clips(file: Path, videos: Path, names: Sequence[str], rate: float, problems: Problems) -> Iterator[Clip]:
    """One of each video that is there. Raises DatasetError.

    names: of videos without their endings, or as the lists of splits have them; all if empty.
    """
    rows: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    numbers: dict[str, int] = {}
    count = 0
    for line, row in enumerate(csv_rows(file, ["Input.Video", *_FIRST]), 2):
        if name := row["Input.Video"].rsplit("/", 1)[-1].rsplit(".", 1)[0].strip():
            rows[name].append((line, row))
            count += bool(row["Answer.1start"] and row["Answer.1justification"])
            numbers.setdefault(name, count)
    chosen = {_NUMBER.sub("", name) for name in names}
    for wanted in chosen:
        if wanted not in rows:
            raise DatasetError(f"{file}: has no video {suggestion(wanted, rows)}")
    for name, of_video in rows.items():
        if chosen and name not in chosen:
            continue
        path = next((path for end in _SUFFIXES if (path := videos / f"{name}{end}").is_file()), None)
        if path is None:
            problems.add("video that is not there, left out", name)
            continue
        answers = [answer for line, row in of_video for answer in row_answers(row, line, problems)]
        if answers:
            yield video_clip(f"bddx_{numbers[name]:05}", path, answers, rate)


def row_answers(row: Row, line: int, problems: Problems) -> Iterator[Answer]:
    """What and why of each slot that is filled in, in the order of time."""
    slots = [slot for slot in _SLOTS if _cell(row, slot, "action") or _cell(row, slot, "justification")]
    begins = {slot: number(_cell(row, slot, "start")) for slot in slots}
    for slot in slots:
        begin, last = begins[slot], number(_cell(row, slot, "end"))
        if begin is None or last is None or not 0 <= begin <= last:
            problems.add("action without a span of time, left out", f"line {line}, Answer.{slot}")
            continue
        following = [other for other in begins.values() if other is not None and begin < other and last <= other]
        end = min([last + _SECOND, *following])
        span = EPOCH + round(begin * 1e9), EPOCH + round(end * 1e9)
        for question, answer in ((WHAT, _cell(row, slot, "action")), (WHY, _cell(row, slot, "justification"))):
            if answer:
                yield Answer(*span, question, answer)


def _cell(row: Row, slot: int, what: str) -> str:
    return str(row.get(f"Answer.{slot}{what}") or "").strip()

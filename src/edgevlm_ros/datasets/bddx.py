# SPDX-License-Identifier: Apache-2.0
"""BDD-X: what a driver does and why, second by second, about videos of Berkeley DeepDrive.

Format: JinkyuKimUCB/BDD-X-dataset, BDD-X-Annotations_v1.csv: a row per annotator and video, with Input.Video (a URL)
and up to 15 times Answer.<n>start, end (seconds), action and justification.
"""

from __future__ import annotations

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
_SUFFIXES = (".mov", ".mp4", ".avi", ".mkv")


def clips(file: Path, videos: Path, names: Sequence[str], rate: float, problems: Problems) -> Iterator[Clip]:
    """One of each video that is there. names: of videos, without their endings; all if empty. Raises DatasetError."""
    rows: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    for line, row in enumerate(csv_rows(file, ["Input.Video", *_FIRST]), 2):
        if name := row["Input.Video"].rsplit("/", 1)[-1].rsplit(".", 1)[0].strip():
            rows[name].append((line, row))
    for wanted in names:
        if wanted not in rows:
            raise DatasetError(f"{file}: has no video {suggestion(wanted, rows)}")
    for index, (name, of_video) in enumerate(rows.items()):
        if names and name not in names:
            continue
        path = next((path for end in _SUFFIXES if (path := videos / f"{name}{end}").is_file()), None)
        if path is None:
            problems.add("video that is not there, left out", name)
            continue
        answers = [answer for line, row in of_video for answer in row_answers(row, line, problems)]
        if answers:
            yield video_clip(f"bddx_{index:05}", path, answers, rate)


def row_answers(row: Row, line: int, problems: Problems) -> Iterator[Answer]:
    """What and why of each slot that is filled in, in the order of time."""
    for slot in _SLOTS:
        since, until, action, why = (
            str(row.get(f"Answer.{slot}{what}") or "").strip() for what in ("start", "end", "action", "justification")
        )
        if not action and not why:
            continue
        begin, end = number(since), number(until)
        if begin is None or end is None or not 0 <= begin < end:
            problems.add("action without a span of time, left out", f"line {line}, Answer.{slot}")
            continue
        span = EPOCH + round(begin * 1e9), EPOCH + round(end * 1e9)
        for question, answer in ((WHAT, action), (WHY, why)):
            if answer:
                yield Answer(*span, question, answer)

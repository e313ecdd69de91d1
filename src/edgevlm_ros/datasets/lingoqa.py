# SPDX-License-Identifier: Apache-2.0
"""LingoQA: segments of five pictures in four seconds, and questions about each.

Format: wayveai/LingoQA, benchmark/evaluate.py, and val.parquet in its history; Parquet, or the same rows as a JSON
list, with question_id, segment_id, images, question and answer: 100 segments, 5 questions each, and 2 answers to each.
`images` are paths below the folder that the file's pictures were unpacked in: images/val/<segment_id>/0.jpg to 4.jpg.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgevlm_ros.datasets.clip import EPOCH, Answer, Clip, DatasetError, read_picture
from edgevlm_ros.datasets.tables import Row, json_rows, parquet_rows
from edgevlm_ros.evaluation.problems import Problems
from edgevlm_ros.nearest import suggestion
from edgevlm_ros.transfer.types import Image

PERIOD = 1_000_000_000
"""Nanoseconds from picture to picture (LingoQA, section 3: five frames over four seconds)."""

_COLUMNS = ("question_id", "segment_id", "images", "question", "answer")


def clips(file: Path, images: Path, names: Sequence[str], problems: Problems) -> Iterator[Clip]:
    """One of each segment. images: folder that the paths in the file begin in. Raises DatasetError."""
    rows = (parquet_rows if file.suffix == ".parquet" else json_rows)(file, _COLUMNS)
    segments: dict[str, list[Row]] = {}
    for row in rows:
        segments.setdefault(str(row["segment_id"]), []).append(row)
    for name in names:
        if name not in segments:
            raise DatasetError(f"{file}: has no segment {suggestion(name, segments)}")
    for index, (segment, asked) in enumerate(segments.items()):
        if not names or segment in names:
            yield _clip(f"lingoqa_{index:05}", file, images, asked, problems)


def _clip(name: str, file: Path, folder: Path, rows: Sequence[Row], problems: Problems) -> Clip:
    """The answers are about all pictures of the segment together, so they hold throughout."""
    paths = rows[0]["images"]
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise DatasetError(f"{file}: the images of {rows[0]['segment_id']} are no list of paths")

    def pictures() -> Iterator[tuple[int, Image]]:
        for index, path in enumerate(paths):
            image = read_picture(folder / path, "name the folder that its path begins in: --images FOLDER")
            if image is None:
                problems.add("image that cannot be decoded, left out", str(folder / path))
            else:
                yield EPOCH + index * PERIOD, image

    end = EPOCH + len(paths) * PERIOD
    answers = tuple(Answer(EPOCH, end, str(row["question"]), str(row["answer"])) for row in rows)
    return Clip(name, pictures, answers, len(paths))

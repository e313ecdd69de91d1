# SPDX-License-Identifier: Apache-2.0
"""A video of one's own and a CSV of what is true in it, as a spreadsheet saves it.

    from,until,question,answer,label,box
    0,4.2,Is the gate open?,no,,
    4.2,,Is the gate open?,yes,gate,210 80 330 240

Times are seconds since the first frame, or m:ss; `time` may stand for `from`. Without `until` an answer holds until the
next one to the same question, or to the end. Boxes are x0 y0 x1 y1, pixels of the video.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgevlm_ros.datasets.clip import EPOCH, Answer, Clip, DatasetError
from edgevlm_ros.datasets.tables import Row, csv_rows
from edgevlm_ros.evaluation.streaming import normalised
from edgevlm_ros.sources import Kind, SourceError, source_kind, video_frames
from edgevlm_ros.transfer.types import Image, Region

_END = EPOCH + 10**18  # nanoseconds; later than any video ends


def read_questions(path: Path) -> list[Answer]:
    """In the order of time. Raises DatasetError, which names the line."""
    rows = csv_rows(path, ["question", "answer"])
    begin = "time" if rows and "time" in rows[0] else "from"
    csv_rows(path, [begin])
    timed = [(_seconds(path, line, row[begin]), line, row) for line, row in _numbered(rows)]
    timed.sort(key=lambda each: each[:2])
    found = []
    for index, (since, line, row) in enumerate(timed):
        question = normalised(row["question"])
        later = (
            start
            for start, _, other in timed[index + 1 :]
            if start > since and normalised(other["question"]) == question
        )
        text = str(row.get("until") or "").strip()
        until = _seconds(path, line, text) if text else next(later, None)
        if until is not None and until <= since:
            raise DatasetError(
                f"{path}, line {line}: ends at {until:g} s, which is not after its beginning at {since:g} s"
            )
        end = _END if until is None else EPOCH + round(until * 1e9)
        regions = _regions(path, line, row)
        found.append(Answer(EPOCH + round(since * 1e9), end, row["question"].strip(), row["answer"].strip(), regions))
    if not found:
        raise DatasetError(f"{path}: has no rows below its first line")
    return found


def video_clip(name: str, path: Path, answers: Sequence[Answer], rate: float) -> Clip:
    """Thinned to so many frames a second. Raises DatasetError."""
    try:
        kind = source_kind(path)
    except SourceError as error:
        raise DatasetError(str(error)) from error
    if kind is not Kind.VIDEO:
        raise DatasetError(f"{path}: is a {kind.value}, not a video")

    def pictures() -> Iterator[tuple[int, Image]]:
        for seconds, image in video_frames(path, rate):
            yield EPOCH + round(seconds * 1e9), image

    return Clip(name, pictures, tuple(answers))


def number(text: str) -> float | None:
    """Seconds from "4.2" or "1:04.2"; None of what is neither."""
    match = re.fullmatch(r"(?:(\d{1,6}):)?(\d{1,9}(?:\.\d*)?|\.\d+)", text.strip())
    if match is None:
        return None
    return int(match[1] or 0) * 60 + float(match[2])


def _numbered(rows: Sequence[Row]) -> Iterator[tuple[int, Row]]:
    """With the row's line, the first below the names being 2; rows of empty cells are none."""
    return ((line, row) for line, row in enumerate(rows, 2) if any(str(cell or "").strip() for cell in row.values()))


def _seconds(path: Path, line: int, text: str) -> float:
    seconds = number(text)
    if seconds is None:
        raise DatasetError(f"{path}, line {line}: {text!r} is no time; expected seconds (4.2) or m:ss (1:04)")
    return seconds


def _regions(path: Path, line: int, row: Row) -> tuple[Region, ...]:
    text = str(row.get("box") or "").strip()
    if not text:
        return ()
    try:
        x0, y0, x1, y1 = map(float, re.split(r"[\s,;]+", text.strip("[]() ")))
        if not (x0 < x1 and y0 < y1 and all(map(math.isfinite, (x0, y0, x1, y1)))):
            raise ValueError
    except ValueError:
        raise DatasetError(
            f"{path}, line {line}: the box {text!r} is not x0 y0 x1 y1 in pixels, with an area"
        ) from None
    return (Region(str(row.get("label") or "").strip(), 1.0, x0, y0, x1, y1),)

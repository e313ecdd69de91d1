# SPDX-License-Identifier: Apache-2.0
"""What a person says is true in a bag of their own: a file with one JSON object a line.

    {"from": 0.0, "to": 4.2, "question": "Is the door open?", "answer": "yes"}
    {"from": 4.2, "to": 9, "question": "Is the door open?", "answer": "no", "regions": [{"label": "door",
     "box": [10, 20, 110, 220]}]}

Times are seconds since the bag's first frame, from <= t < to, so that ranges may follow each other without a gap. Empty
lines and those that begin with # are comments. Boxes are x0 y0 x1 y1, pixels of the frame.

A line that cannot be read, and two ranges that say different things at the same time, are faults of the file that only
its author can put right: they are refused, with the line. What lies outside the bag is cut off or skipped, and counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevlm_ros.evaluation.problems import Problems
from edgevlm_ros.evaluation.streaming import normalised
from edgevlm_ros.transfer.types import Question, Region

_EXAMPLE = 'expected {"from": 0.0, "to": 4.2, "question": "Is the door open?", "answer": "yes"}'


class AnnotationsError(ValueError):
    """A file of annotations that cannot be used; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """since, until: seconds since the bag's first frame; since <= t < until. line: where it stands in its file."""

    line: int
    since: float
    until: float
    question: Question
    answer: str
    regions: tuple[Region, ...] = ()


def read_annotations(path: Path, seconds: float, problems: Problems) -> tuple[Annotation, ...]:
    """Annotations in order of time. seconds: length of the bag. Raises AnnotationsError."""
    found: list[Annotation] = []
    for annotation in _parsed(path):
        place = f"line {annotation.line}"
        if annotation.since >= seconds or annotation.until <= 0.0:
            problems.add("annotation outside the bag, skipped", place)
            continue
        if annotation.since < 0.0 or annotation.until > seconds + 1e-6:
            problems.add("annotation that reaches beyond the bag, cut off", place)
            annotation = replace(annotation, since=max(annotation.since, 0.0), until=min(annotation.until, seconds))
        found.append(annotation)
    if not found:
        raise AnnotationsError(f"{path}: not one annotation lies in the bag, which is {seconds:.1f} s long; {_EXAMPLE}")
    found.sort(key=_in_time)
    return tuple(sorted(_without_overlaps(path, found, problems), key=_in_time))


def _in_time(annotation: Annotation) -> tuple[float, int]:
    return annotation.since, annotation.line


def _without_overlaps(path: Path, ordered: list[Annotation], problems: Problems) -> Iterator[Annotation]:
    """Ranges of one question that say the same may overlap: the later one then begins where the earlier one ends."""
    last: dict[str, Annotation] = {}
    for annotation in ordered:
        key = normalised(annotation.question.text)
        before = last.get(key)
        if before is not None and annotation.since < before.until:
            if normalised(annotation.answer) != normalised(before.answer):
                first, second = sorted([before.line, annotation.line])
                raise AnnotationsError(
                    f"{path}: lines {first} and {second} answer {annotation.question.text!r} differently from "
                    f"{annotation.since:g} s to {min(before.until, annotation.until):g} s: let one end before"
                )
            problems.add("annotation that overlaps another of the same answer, joined", f"line {annotation.line}")
            if annotation.until <= before.until:
                continue
            annotation = replace(annotation, since=before.until)
        last[key] = annotation
        yield annotation


def _parsed(path: Path) -> Iterator[Annotation]:
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise AnnotationsError(f"{path}: cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            yield _annotation(number, json.loads(line.decode()))
        except RecursionError:
            raise AnnotationsError(f"{path}, line {number}: nested too deeply; {_EXAMPLE}") from None
        except ValueError as error:
            raise AnnotationsError(f"{path}, line {number}: {error}; {_EXAMPLE}") from error


def _annotation(line: int, value: Any) -> Annotation:
    """Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    since, until = _number(value, "from"), _number(value, "to")
    if since >= until:
        raise ValueError(f"it ends at {until:g} s, which is not after its beginning at {since:g} s")
    regions = value.get("regions") or []
    if not isinstance(regions, list):
        raise ValueError('"regions" is not a list')
    question = Question(_text(value, "question"))
    return Annotation(line, since, until, question, _text(value, "answer"), tuple(map(_region, regions)))


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not normalised(text):
        raise ValueError(f'"{name}" is missing or has no words')
    return _writable(text.strip())


def _writable(text: str) -> str:
    """The text, if a file and a message can hold it; raises ValueError for half a character, which JSON can spell."""
    text.encode()
    return text


def _number(value: dict[str, Any], name: str) -> float:
    number = value.get(name)
    if not _is_number(number):
        raise ValueError(f'"{name}" is missing or no number of seconds')
    return float(number)  # type: ignore[arg-type]


def _region(value: Any) -> Region:
    box = value.get("box") if isinstance(value, dict) else None
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise ValueError('a region is not {"label": "door", "box": [x0, y0, x1, y1]}')
    x0, y0, x1, y1 = map(float, box)
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"the box {box} has no area")
    return Region(_writable(str(value.get("label", ""))), 1.0, x0, y0, x1, y1)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False

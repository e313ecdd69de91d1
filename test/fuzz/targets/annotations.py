# SPDX-License-Identifier: Apache-2.0
"""A file of annotations of somebody's own bag."""

from __future__ import annotations

from itertools import pairwise

from edgevlm_ros.evaluation.annotations import AnnotationsError, read_annotations
from edgevlm_ros.evaluation.problems import Problems
from fuzz.scratch import scratch

WORDS = (
    b'{"from": ', b'"to": ', b'"question": "', b'"answer": "', b'"regions": [', b'"label": "', b'"box": [', b"1e999",
    b"NaN", b"-Infinity", b"\xef\xbb\xbf", b"# ", b"\\ud800", b"null", b"true", b"}\n{",
)  # fmt: skip
LONGEST = 2048
_SECONDS = 20.0


def check(data: bytes) -> None:
    problems = Problems()
    try:
        found = read_annotations(scratch("annotations.jsonl", data), _SECONDS, problems)
    except AnnotationsError as error:
        assert "annotations.jsonl" in str(error)
        return
    assert found
    assert all(0 <= one.since < one.until <= _SECONDS for one in found)
    assert all(first.since <= second.since for first, second in pairwise(found))
    assert all(region.x0 < region.x1 and region.y0 < region.y1 for one in found for region in one.regions)
    for words in (text for one in found for text in (one.question.text, one.answer, *(r.label for r in one.regions))):
        words.encode()
    for question in {one.question.text for one in found}:
        times = [(one.since, one.until) for one in found if one.question.text == question]
        assert all(first[1] <= second[0] for first, second in pairwise(times)), "one answer at a time"
    assert all(problems.lines())

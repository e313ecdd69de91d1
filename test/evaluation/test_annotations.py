# SPDX-License-Identifier: Apache-2.0
"""What a person says about their own bag: read where it is clear, refused with the line where it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgevlm_ros.evaluation.annotations import Annotation, AnnotationsError, read_annotations
from edgevlm_ros.evaluation.problems import Problems
from edgevlm_ros.transfer.types import Question, Region

DOOR = "Is the door open?"
one_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def line(since: float, until: float, answer: str = "yes", question: str = DOOR, **more: Any) -> str:
    return json.dumps({"from": since, "to": until, "question": question, "answer": answer, **more})


def read(folder: Path, *lines: str | bytes, seconds: float = 20.0) -> tuple[tuple[Annotation, ...], tuple[str, ...]]:
    """The annotations, and what was skipped."""
    path = folder / "annotations.jsonl"
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    problems = Problems()
    return read_annotations(path, seconds, problems), problems.lines()


def test_lines_become_ranges_in_order_of_time(tmp_path: Path) -> None:
    box = {"label": "door", "box": [10, 20, 110, 220]}
    found, problems = read(tmp_path, "# mine", line(4, 9, "no", regions=[box]), "", line(0, 4))
    assert found == (
        Annotation(4, 0.0, 4.0, Question(DOOR), "yes"),
        Annotation(2, 4.0, 9.0, Question(DOOR), "no", (Region("door", 1.0, 10.0, 20.0, 110.0, 220.0),)),
    )
    assert problems == ()


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    found, _ = read(tmp_path, b"\xef\xbb\xbf" + line(0, 4).encode() + b"\r", line(4, 5) + "\r")
    assert len(found) == 2


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "Expecting property name"),
        ("[1, 2]", "not a JSON object"),
        (b"\xff\xfe", "utf-8"),
        ("[" * 100_000, "nested too deeply"),
        (line(3, 3), "ends at 3 s, which is not after its beginning at 3 s"),
        (line(0, float("nan")), '"to" is missing or no number'),
        ('{"to": 4, "question": "a", "answer": "b"}', '"from" is missing'),
        ('{"from": true, "to": 4, "question": "a", "answer": "b"}', '"from" is missing or no number'),
        ('{"from": 1' + "0" * 400 + ', "to": 4, "question": "a", "answer": "b"}', '"from" is missing or no number'),
        (line(0, 4, answer=" ."), '"answer" is missing or has no words'),
        (line(0, 4, question="a \ud800?"), "surrogates not allowed"),
        (line(0, 4, regions=[{"label": "\udfff", "box": [5, 0, 9, 9]}]), "surrogates not allowed"),
        (line(0, 4, question=""), '"question" is missing or has no words'),
        (line(0, 4, regions={"label": "door"}), '"regions" is not a list'),
        (line(0, 4, regions=[{"label": "door"}]), "a region is not"),
        (line(0, 4, regions=[{"box": [5, 0, 5, 9]}]), "has no area"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, bad: str | bytes, said: str) -> None:
    with pytest.raises(AnnotationsError, match=r"annotations.jsonl, line 2: ") as error:
        read(tmp_path, line(0, 4), bad)
    assert said in str(error.value)


def test_two_answers_at_one_time_are_refused_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(AnnotationsError, match=r"lines 1 and 3 answer .* differently from 3 s to 4 s"):
        read(tmp_path, line(3, 8, "no"), line(8, 9), line(0, 4))


def test_ranges_that_say_the_same_are_joined(tmp_path: Path) -> None:
    found, problems = read(tmp_path, line(0, 4), line(3, 8, "Yes."), line(1, 2))
    assert [(one.since, one.until) for one in found] == [(0.0, 4.0), (4.0, 8.0)]
    assert problems == ("annotation that overlaps another of the same answer, joined: 2 times (line 3, line 2)",)


def test_a_range_that_begins_later_by_joining_takes_its_place_in_time(tmp_path: Path) -> None:
    found, _ = read(tmp_path, line(0, 4), line(3, 8), line(3, 8, "two", question="How many people?"))
    assert [(one.since, one.line) for one in found] == [(0.0, 1), (3.0, 3), (4.0, 2)]


def test_two_questions_may_be_answered_at_one_time(tmp_path: Path) -> None:
    found, problems = read(tmp_path, line(0, 4), line(0, 4, "two", question="How many people?"))
    assert len(found) == 2
    assert problems == ()


def test_what_lies_outside_the_bag_is_cut_or_skipped(tmp_path: Path) -> None:
    found, problems = read(tmp_path, line(-2, 4), line(18, 25), line(20, 30), line(-5, 0))
    assert [(one.since, one.until) for one in found] == [(0.0, 4.0), (18.0, 20.0)]
    assert problems == (
        "annotation that reaches beyond the bag, cut off: 2 times (line 1, line 2)",
        "annotation outside the bag, skipped: 2 times (line 3, line 4)",
    )


def test_a_file_about_another_bag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationsError, match=r"not one annotation lies in the bag, which is 20\.0 s long"):
        read(tmp_path, line(100, 120))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationsError, match=r"no\.jsonl: cannot be read"):
        read_annotations(tmp_path / "no.jsonl", 5.0, Problems())


times = st.integers(-3, 25)
spans = st.tuples(times, times, st.sampled_from(["yes", "no"]), st.sampled_from([DOOR, "Who?"]))


@one_file
@given(st.lists(spans.filter(lambda span: span[0] < span[1]), min_size=1, max_size=6))
def test_at_no_time_does_a_question_have_two_answers(tmp_path: Path, wanted: list[tuple[int, int, str, str]]) -> None:
    def said(time: float, question: str) -> set[str]:
        """What the file says about a time in the bag."""
        return {answer for since, until, answer, asked in wanted if since <= time < until and asked == question}

    inside = [(time + 0.5, question) for time in range(20) for question in (DOOR, "Who?")]
    try:
        found, _ = read(tmp_path, *(line(*span) for span in wanted))
    except AnnotationsError as error:
        clear = all(len(said(*each)) < 2 for each in inside)
        assert not clear or "not one annotation" in str(error)
        return
    for time, question in inside:
        answers = [one.answer for one in found if one.since <= time < one.until and one.question.text == question]
        assert len(answers) <= 1
        assert set(answers) == said(time, question)


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["label", "box"]), inner),
    max_leaves=6,
)
fields = dict.fromkeys(("from", "to", "question", "answer", "regions"), values)
objects = st.fixed_dictionaries({}, optional=fields).map(json.dumps)


@one_file
@given(st.lists(st.one_of(objects, st.binary(max_size=30)), max_size=4))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path: Path, lines: list[str | bytes]) -> None:
    try:
        found, _ = read(tmp_path, *lines)
    except AnnotationsError as error:
        assert "annotations.jsonl" in str(error)
        return
    assert all(0 <= one.since < one.until <= 20 for one in found)

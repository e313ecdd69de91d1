# SPDX-License-Identifier: Apache-2.0
"""Spans of a spreadsheet of questions."""

from __future__ import annotations

import csv
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevlm_ros.datasets.clip import EPOCH, DatasetError
from edgevlm_ros.datasets.video_questions import number, read_questions


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 600), st.sampled_from("abc")), min_size=1, max_size=20, unique=True))
def test_without_until_the_answers_to_a_question_follow_each_other_without_a_gap(rows: list[tuple[int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "q.csv"
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["time", "question", "answer"])
            table.writerows([since, question, f"{since} s"] for since, question in rows)
        answers = read_questions(path)
    assert sorted((round((each.since - EPOCH) / 1e9), each.question) for each in answers) == sorted(rows)
    for question in "abc":
        for before, after in pairwise([each for each in answers if each.question == question]):
            assert before.until == after.since


@given(st.text(max_size=12))
def test_any_text_is_a_time_or_none(text: str) -> None:
    seconds = number(text)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from,question,anwser\n0,Open?,no\n", "has no 'answer'; is 'anwser' what should be called so?"),
        ("form,question,answer\n0,Open?,no\n", "has no 'from'; is 'form' what should be called so?"),
        ("from,question,answer\nsoon,Open?,no\n", "line 2: 'soon' is no time"),
        ("from,until,question,answer\n4,3,Open?,no\n", "line 2: ends at 3 s"),
        ("from,question,answer,box\n0,Open?,no,1 2 3\n", "line 2: the box '1 2 3' is not"),
        ("from,question,answer\n", "has no rows"),
        ("", "has no 'question'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "q.csv"
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_questions(path)
    assert message in str(caught.value)

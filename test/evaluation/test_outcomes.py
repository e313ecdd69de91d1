# SPDX-License-Identifier: Apache-2.0
"""Runs as lines on the disk: what is written is what is read, and a crash costs one line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.evaluation.outcomes import Run, Said, append_runs, read_runs, run_of, write_runs
from edgevlm_ros.evaluation.streaming import Published
from edgevlm_ros.transfer.types import Question

WHERE = Question("Where?")


def a_run(scene: str = "aisle_00", text: str = "left") -> Run:
    said = (Said(5, WHERE, text, 3), Said(9, WHERE, text, 7, cloud=True))
    ages = (math.nan, 0.25)
    return Run("edgevlm", "aisle", scene, "test", "3", 0, said, (0.0, 1.0), ages, 1, 900, 2, 60.0, {"stale": 1})


@given(st.text())
def test_a_line_reads_as_the_run_that_it_was_made_of(text: str) -> None:
    line = a_run(text=text).line()
    read = run_of(line)
    assert line.count("\n") == 1
    assert read.published == a_run(text=text).published
    assert read.line() == line
    assert math.isnan(read.ages[0])


def test_answers_without_a_frame_stay_so() -> None:
    run = Run("p", "d", "s", "own", "0", 0, (Published(1, WHERE, "x"),), (), (), 0, 0, 0, 1.0)
    assert run_of(run.line()).published == run.published


def test_a_torn_last_line_is_dropped_and_the_next_stands_on_its_own(tmp_path: Path) -> None:
    file = tmp_path / "out" / "runs.jsonl"
    assert read_runs(file) == []
    append_runs(file, [a_run("aisle_00")])
    with file.open("a") as torn:
        torn.write(a_run("aisle_01").line()[:40])
    assert [run.scene for run in read_runs(file)] == ["aisle_00"]
    append_runs(file, [a_run("aisle_02")])
    assert [run.scene for run in read_runs(file)] == ["aisle_00", "aisle_02"]


def test_another_line_that_is_no_run_is_named(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text(a_run().line() + '{"policy": 1}\n' + a_run().line())
    with pytest.raises(ValueError, match=r"runs.jsonl, line 2: not a run.*remove the file"):
        read_runs(file)


def test_the_same_runs_make_the_same_file_in_whatever_order_they_were_done(tmp_path: Path) -> None:
    runs = [a_run("aisle_01"), a_run("aisle_00")]
    write_runs(tmp_path / "a.jsonl", runs)
    write_runs(tmp_path / "b.jsonl", reversed(runs))
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert [run.scene for run in read_runs(tmp_path / "a.jsonl")] == ["aisle_00", "aisle_01"]

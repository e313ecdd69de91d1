# SPDX-License-Identifier: Apache-2.0
"""What a demo prints: a line now and then, and a table that says what was not measured."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgevlm_ros.evaluation.metrics import summary
from edgevlm_ros.evaluation.recording import Recording
from edgevlm_ros.terminal import Progress, print_table, shown
from support.recordings import ANSWER


def test_the_line_tells_time_rate_cloud_and_the_last_answer(capsys: pytest.CaptureFixture[str]) -> None:
    answer = SimpleNamespace(text="acid,\n\x1b[31mleft", frame_age=0.084)
    heard = SimpleNamespace(stamp=12_500_000_000, rate=4.96, replies=Counter(ok=3), answer=answer)
    progress = Progress(heard, 10 * 10**9, 60.0)
    progress.show()
    progress.show()
    lines = capsys.readouterr().out.splitlines()
    assert lines == ['  2.5 / 60.0 s   5.0 answers/s  cloud 3 ok, 0 failed  "acid, [31mleft" after 84 ms']


def test_before_the_first_answer_there_is_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    heard = SimpleNamespace(stamp=0, rate=0.0, replies=Counter(), answer=None)
    Progress(heard, 10 * 10**9, 60.0).end()
    assert "0.0 / 60.0 s" in (line := capsys.readouterr().out)
    assert "no answer yet" in line


def test_the_table_says_why_there_is_no_score(capsys: pytest.CaptureFixture[str]) -> None:
    print_table({**summary(Recording([ANSWER])), "note": "micro"}, Path("/somewhere"), 70.2)
    printed = capsys.readouterr().out
    assert printed.startswith("done in 70 s\n")
    assert "not scored: the source has no ground truth" in printed
    assert "/somewhere/report.html" in printed
    assert "micro" in printed


def test_paths_are_shown_from_where_one_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "runs" / "demo") == "runs/demo"
    assert shown(Path("/elsewhere")) == "/elsewhere"

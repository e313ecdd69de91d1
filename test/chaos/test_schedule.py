# SPDX-License-Identifier: Apache-2.0
"""Schedules are read whole or refused with words that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.faults import FAULTS
from chaos.schedule import LONG, SHORT, ScheduleError, length, read_schedule


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_long_schedule_has_every_fault() -> None:
    entries = read_schedule(LONG)
    assert {entry.fault for entry in entries} == set(FAULTS)
    assert {entry.settings["code"] for entry in entries if entry.fault == "status"} >= {401, 403, 404, 413, 429, 503}
    assert length(entries) > entries[-1].end


def test_the_short_schedule_is_short() -> None:
    assert 0 < length(read_schedule(SHORT)) < 20


def test_settings_are_the_faults_own_where_none_are_given(tmp_path: Path) -> None:
    (entry,) = read_schedule(written(tmp_path, "- {fault: status, at: 4, for: 2, code: 429}"))
    assert (entry.begin, entry.end, entry.label) == (4.0, 6.0, "status code=429")
    assert dict(entry.settings) == {"code": 429.0, "retry_after": 0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {fault: refusd, at: 4, for: 2}", "did you mean 'refused'"),
        ("- {fault: throttled, at: 4, for: 2, bytes_per_sec: 9}", "did you mean 'bytes_per_s'"),
        ("- {fault: camera_restarted, at: 4, for: 2}", "it takes fault, at"),
        ("- {fault: refused, at: soon, for: 2}", "at = 'soon': a number"),
        ("- {fault: refused, at: 4}", "for = None"),
        ("- {fault: refused, at: 4, for: 0}", "more than 0"),
        ("- {fault: refused, at: 0, for: 2}", "'at' is 1 s or more"),
        ("- {at: 4, for: 2}", "it names no fault"),
        ("- {fault: refused, at: 4, for: 2}\n- {fault: silent, at: 6, for: 2}", "leave 1 s of quiet"),
        ("fault: refused", "a list of faults is wanted"),
        ("[", "is no YAML"),
        ("", "a list of faults is wanted"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_what_to_write(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        read_schedule(written(tmp_path, text))
    assert said in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match="No such file"):
        read_schedule(tmp_path / "nothing.yaml")

# SPDX-License-Identifier: Apache-2.0
"""What code in a process of its own may do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgevlm_ros.doctor.trial import attempt


def test_a_value_comes_back_whatever_else_is_printed() -> None:
    assert attempt("print('noise', end=''); say({'a': [1, None]})").value == {"a": [1, None]}


def test_a_crash_is_told_and_survived() -> None:
    assert attempt("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").error == "crashed with signal 11"


def test_the_line_of_the_exception_is_told() -> None:
    assert attempt("import no_such_module").error == "ModuleNotFoundError: No module named 'no_such_module'"


def test_the_first_line_of_a_long_exception_is_told() -> None:
    assert attempt("raise ImportError('numpy is too new\\nsee\\nthere')").error.startswith(
        "ImportError: numpy is too new"
    )


def test_an_endless_import_ends() -> None:
    assert "0.5 s" in attempt("import threading; threading.Event().wait()", timeout=0.5).error


def test_silence_and_a_missing_interpreter_are_told() -> None:
    assert attempt("pass").error
    assert "does not run" in attempt("pass", python="/no/such/python").error


def test_a_folder_cannot_stand_in_for_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stand_in.py").touch()
    monkeypatch.chdir(tmp_path)
    assert "No module named" in attempt("import stand_in; say(1)", sys.executable).error

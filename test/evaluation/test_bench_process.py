# SPDX-License-Identifier: Apache-2.0
"""The process that measures one model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgevlm_ros.evaluation import bench_process


def test_a_model_that_does_not_fit_into_memory_is_skipped_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench_process.too_large(256_000_000, 8 * 2**30) == ""
    assert "3.8 B parameters need" in bench_process.too_large(3_800_000_000, 8 * 2**30)
    monkeypatch.setattr(bench_process, "_protect_others", lambda: None)
    monkeypatch.setattr(bench_process, "available_memory", lambda: 2**20)
    monkeypatch.setattr(bench_process, "load", lambda model: pytest.fail("it was loaded all the same"))
    file = tmp_path / "result.json"
    bench_process.main(["tiny-qwen2.5-vl", "--result", str(file), "--seconds", "9", "--repeats", "1"])
    result = json.loads(file.read_text())
    assert "are free" in result["reason"]
    assert "rows" not in result


def test_a_result_has_the_rows_the_stream_and_what_they_were_measured_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_process, "_protect_others", lambda: None)
    file = tmp_path / "result.json"
    bench_process.main(["tiny-smolvlm", "--result", str(file), "--seconds", "4", "--repeats", "1"])
    result = json.loads(file.read_text())
    assert result["frame"] == "640x480"
    assert result["parameters"] == bench_process.parameters_of("tiny-smolvlm")
    assert result["rows"]
    assert result["stream"]["contexts"] > 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)


def test_parameters_are_counted_without_loading(tiny_model: Path) -> None:
    assert bench_process.parameters_of(str(tiny_model)) == bench_process.parameters_of("tiny-qwen2.5-vl")

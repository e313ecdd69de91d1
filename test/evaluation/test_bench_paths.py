# SPDX-License-Identifier: Apache-2.0
"""Ways to decode, measured on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.random_models import build
from edgevlm_ros.evaluation import bench_paths, bench_process
from edgevlm_ros.evaluation.bench_floor import Device
from edgevlm_ros.evaluation.bench_paths import Paths, measure_paths, paths_markdown


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    model, processor = build("tiny-qwen2.5-vl")
    family = architecture_of(model.config.model_type)
    assert family is not None
    image = np.random.default_rng(3).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bench_paths, "measured_device", lambda *_: Device(1e9, 1e10))
        paths = Paths(family(model, processor), "tiny", image, ("growing", "graph"), 64, (4, 8))
        measured = measure_paths(paths, 60.0, 1)
    return {"model": "tiny", "dtype": "float32", "device": "cpu", "frame": "160x120", "paths": measured}


def test_every_way_answers_with_the_tokens_of_generate(result: dict[str, Any]) -> None:
    rows = result["paths"]["rows"]
    assert [(row["way"], row["answer_tokens"]) for row in rows] == [
        (way, tokens) for way in ("growing", "graph", "drafted", "generate") for tokens in (4, 8)
    ]
    assert all(row["tokens_equal"] and row["warm"] for row in rows)
    assert all(row["faster_than_generate"] == 1.0 for row in rows if row["way"] == "generate")


def test_the_history_is_prefilled_ahead_and_a_floor_counts_what_is_new(result: dict[str, Any]) -> None:
    paths = result["paths"]
    assert paths["reused_tokens"] > 64
    assert paths["floors"]["prefill_tokens"] == paths["prompt_tokens"] - paths["reused_tokens"]
    assert paths["floors"]["step_ms"] > 0.0


def test_the_table_has_every_way_and_judges_a_gpu_alone(result: dict[str, Any]) -> None:
    told = paths_markdown(result)
    assert "| drafted " in told
    assert "not judged here" in told
    slow = json.loads(json.dumps({**result, "device": "cuda: some"}))
    for row in slow["paths"]["rows"]:
        row["faster_than_generate"], row["answer_tokens"] = 2.0, {4: 8, 8: 32}[row["answer_tokens"]]
    assert "2 (growing), **not reached**" in paths_markdown(slow)
    for row in slow["paths"]["rows"]:
        row["faster_than_generate"] = 3.5
    assert "3.5 (growing), reached" in paths_markdown(slow)


def test_without_time_each_way_is_measured_once_and_that_is_said() -> None:
    model, processor = build("tiny-qwen2.5-vl")
    family = architecture_of(model.config.model_type)
    assert family is not None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bench_paths, "measured_device", lambda *_: Device(1e9, 1e10))
        paths = Paths(family(model, processor), "tiny", np.zeros((56, 56, 3), np.uint8), ("growing",), 64, (2,))
        rows = measure_paths(paths, 0.0, 3)["rows"]
    assert [row["repeats"] for row in rows] == [1, 1, 1]
    assert not any(row["warm"] for row in rows)


def test_a_process_measures_ways_in_place_of_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_process, "_protect_others", lambda: None)
    monkeypatch.setattr(bench_paths, "measured_device", lambda *_: Device(1e9, 1e10))
    file = tmp_path / "result.json"
    asked = ["tiny-smolvlm", "--result", str(file), "--seconds", "1", "--repeats", "1", "--ways", "growing"]
    bench_process.main(asked)
    left = json.loads(file.read_text())
    assert left["device"] == "cpu"
    assert "rows" not in left
    assert {row["way"] for row in left["paths"]["rows"]} == {"growing", "drafted", "generate"}

# SPDX-License-Identifier: Apache-2.0
"""The model that the edge node shall load, as it lies on the disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from edgevlm_ros.doctor import model
from edgevlm_ros.doctor.finding import Finding
from edgevlm_ros.doctor.hardware import GIB, Gpu
from edgevlm_ros.doctor.weights import Weights
from edgevlm_ros.edge.model_shape import shape_of_model


def folder_of(path: Path, model_type: str = "qwen2_5_vl") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"model_type": model_type}))
    for name in ("tokenizer.json", "preprocessor_config.json"):
        (path / name).write_text("{}")
    save_file({"a": np.ones((3, 4), np.float32)}, path / "model.safetensors")
    return path


def looked_at(name: object) -> dict[str, Finding]:
    return {finding.name: finding for finding in model.check(str(name), "cpu", "none", None)}


def test_a_bundled_model_has_nothing_wrong_with_it() -> None:
    found = looked_at("micro_svlm")
    assert set(found) == {"model", "family", "processor", "weights", "fits"}
    assert {finding.level for finding in found.values()} == {"ok"}


def test_a_download_that_was_cut_is_found(tmp_path: Path) -> None:
    weights = folder_of(tmp_path / "cut") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    found = looked_at(weights.parent)
    assert found["weights"].level == "fail"
    assert "instead of" in found["weights"].found
    assert "again" in found["weights"].fix


def test_pickles_alone_fail_and_beside_safetensors_are_to_look_at(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "both")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert looked_at(folder)["weights"].level == "warn"
    (folder / "model.safetensors").unlink()
    alone = looked_at(folder)["weights"]
    assert (alone.level, "pytorch_model.bin" in alone.found) == ("fail", True)
    assert "safetensors" in alone.fix


def test_another_family_and_missing_parts_are_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "llama", "llama")
    (folder / "tokenizer.json").unlink()
    found = looked_at(folder)
    assert "server_url" in found["family"].fix
    assert "no tokenizer" in found["processor"].found


def test_a_name_that_is_nothing_is_told(tmp_path: Path) -> None:
    (only,) = model.check(str(tmp_path / "nowhere"), "auto", "none", None)
    assert only.level == "fail"


def test_a_model_of_the_hub_is_looked_for_in_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert looked_at("some/model")["model"].level == "warn"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert looked_at("some/model")["model"].level == "fail"
    snapshot = tmp_path / "models--some--model" / "snapshots" / "abc"
    shutil.copytree(folder_of(tmp_path / "made"), snapshot)
    assert str(snapshot) in looked_at("some/model")["model"].found


@pytest.mark.parametrize(
    ("billions", "device", "quantization", "level"),
    [
        (3, "auto", "none", "ok"),
        (7, "auto", "none", "fail"),
        (7, "auto", "nf4", "ok"),
        (3.5, "cpu", "none", "warn"),
        (7, "cpu", "none", "fail"),
    ],
)
def test_weights_fit_or_not_by_device_and_quantization(
    billions: float, device: str, quantization: str, level: str
) -> None:
    orin = Gpu("2.8", "12.6", True, "Orin", free=8 * GIB, total=16 * GIB)
    assert model.fits(int(billions * 1e9), device, quantization, orin, 15 * GIB).level == level


def test_a_model_that_can_be_counted_is_held_against_the_memory_as_the_node_will(tmp_path: Path) -> None:
    shape = shape_of_model("HuggingFaceTB/SmolVLM-256M-Instruct")
    found = [model.fits(0, "cpu", "none", None, int(free * GIB), shape) for free in (1.0, 2.0)]
    assert [finding.level for finding in found] == ["fail", "ok"]
    assert "needed in all" in found[0].found
    assert model.fits(0, "cpu", "auto", None, int(1.4 * GIB), shape).level == "ok"
    (tmp_path / "config.json").write_text('{"quantization_config": {"load_in_4bit": true}}')
    assert (model.saved_as(tmp_path), model.saved_as(tmp_path / "nowhere")) == ("nf4", "")


def test_a_gpu_that_is_asked_for_and_is_not_there_is_told() -> None:
    assert "no GPU" in model.fits(1, "cuda:0", "none", Gpu("2.8"), GIB).found


def test_a_folder_without_weights_is_told() -> None:
    assert model.whole(Weights((), 0, 0)).level == "fail"

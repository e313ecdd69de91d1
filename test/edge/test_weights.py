# SPDX-License-Identifier: Apache-2.0
"""Weights are loaded whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.random_models import save
from edgevlm_ros.edge.weights import load_weights


def loaded(folder: Path, quantization: str = "none") -> Any:
    config = AutoConfig.from_pretrained(folder)
    family = architecture_of(config.model_type)
    assert family is not None
    return load_weights(str(folder), config, family, torch.device("cpu"), quantization)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save("tiny-smolvlm", tmp_path / "smolvlm")


def test_weights_of_another_architecture_are_refused_and_not_made_up(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = save("tiny-qwen3-vl", tmp_path / "qwen")
    shutil.copyfile(other / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(EngineError, match=r"not those of its config.json \(smolvlm\): \d+ are missing or of another"):
        loaded(folder)
    assert "LOAD REPORT" not in caplog.text


def test_weights_of_another_size_are_refused(folder: Path, tmp_path: Path) -> None:
    wide = folder / "config.json"
    wide.write_text(wide.read_text().replace('"intermediate_size": 128', '"intermediate_size": 256'))
    with pytest.raises(EngineError, match=r"mlp\.down_proj\.weight for one"):
        loaded(folder)


def test_those_that_belong_are_loaded_and_ready_to_answer(folder: Path) -> None:
    model = loaded(folder)
    assert not model.training
    assert model.dtype == torch.float32

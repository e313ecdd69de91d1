# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.random_models import build

IMAGE = np.random.default_rng(3).integers(0, 255, (120, 160, 3), dtype=np.uint8)
TINY = ("tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-smolvlm", "tiny-idefics3", "tiny-llava")


@pytest.mark.parametrize("size", TINY)
def test_a_folder_of_any_family_answers(size: str, tmp_path: Path) -> None:
    for part in build(size):
        part.save_pretrained(tmp_path)
    engine = load_engine(EngineSettings(str(tmp_path), device="cpu", max_new_tokens=4))
    assert engine.name == tmp_path.name
    assert len(engine.complete(Prompt((), (IMAGE,), "what?")).tokens) > 0


def test_tiles_are_cut_only_if_they_are_asked_for(tmp_path: Path) -> None:
    model, processor = build("tiny-smolvlm")
    processor.image_processor.do_image_splitting = True
    processor.image_processor.size = {"longest_edge": 2 * processor.image_processor.max_image_size["longest_edge"]}
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    tokens = [
        load_engine(EngineSettings(str(tmp_path), device="cpu", max_new_tokens=1, image_splitting=splitting))
        .complete(Prompt((), (IMAGE,), "what?"))
        .visual_tokens
        for splitting in (False, True)
    ]
    assert tokens[1] >= 3 * tokens[0]


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_quantised_weights_answer_and_spare_the_eyes(tiny_model: Path, quantization: str) -> None:
    engine = load_engine(EngineSettings(str(tiny_model), device="cpu", quantization=quantization, max_new_tokens=4))
    modules = engine.architecture.model.named_modules()
    quantised = {name for name, module in modules if type(module).__name__ in ("Linear4bit", "Linear8bitLt")}
    assert quantised
    assert not any("visual" in name or "lm_head" in name for name in quantised)
    assert engine.complete(Prompt((), (IMAGE,), "what?")).confidence > 0.0


def test_what_cannot_be_loaded_says_why(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="unknown quantization 'int2'"):
        load_engine(EngineSettings(str(tiny_model), quantization="int2"))
    with pytest.raises(EngineError, match="unknown device"):
        load_engine(EngineSettings(str(tiny_model), device="toaster"))
    with pytest.raises(EngineError, match="focus layers"):
        load_engine(EngineSettings(str(tiny_model), focus_layers=(7,)))
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(EngineError, match="'llama' model; the edge engine runs idefics3, llava, qwen2_5_vl"):
        load_engine(EngineSettings(str(other)))
    truncated = shutil.copytree(tiny_model, tmp_path / "truncated")
    weights = truncated / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(EngineError, match="cannot load the edge model"):
        load_engine(EngineSettings(str(truncated)))

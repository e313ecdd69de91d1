# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from transformers import AutoConfig

from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.published import PUBLISHED
from edgevlm_ros.edge.random_models import build

IMAGE = np.random.default_rng(3).integers(0, 255, (120, 160, 3), dtype=np.uint8)
TINY = ("tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-smolvlm", "tiny-idefics3", "tiny-llava", "tiny-llava-onevision")


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


def test_auto_quantises_nothing_where_there_is_room(tiny_model: Path) -> None:
    engine = load_engine(EngineSettings(str(tiny_model), device="cpu", quantization="auto", max_new_tokens=1))
    kinds = {type(module).__name__ for module in engine.architecture.model.modules()}
    assert not kinds & {"Linear4bit", "Linear8bitLt"}


def test_more_memory_than_there_is_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    size = {**PUBLISHED["Qwen/Qwen2.5-VL-7B-Instruct"]}
    size["text_config"] = {**size["text_config"], "intermediate_size": 2**22}
    AutoConfig.for_model(**size).save_pretrained(tmp_path)
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "model.safetensors")  # which are never looked into
    with pytest.raises(EngineError, match=r"needs about \d+\.\d GiB, and this machine .* has .*smaller model"):
        load_engine(EngineSettings(str(tmp_path), device="cpu", quantization="none"))


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
    save_file({"a": np.zeros(1, np.float32)}, other / "model.safetensors")
    with pytest.raises(EngineError, match="'llama' model; the edge engine runs idefics3, llava, llava_onevision"):
        load_engine(EngineSettings(str(other)))
    truncated = shutil.copytree(tiny_model, tmp_path / "truncated")
    weights = truncated / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(EngineError, match=r"cannot load the edge model|cut off or damaged"):
        load_engine(EngineSettings(str(truncated)))

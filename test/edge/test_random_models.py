# SPDX-License-Identifier: Apache-2.0
"""Random models are real ones of the stated size, whose words depend on what they see and on what was said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgevlm_ros.edge.engine import Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.random_models import SIZES, build, parameters, save

TINY = [size for size in SIZES if size.startswith("tiny")]
RNG = np.random.default_rng(0)
IMAGES = [
    RNG.integers(0, 256, (112, 160, 3), dtype=np.uint8),
    *(np.full((112, 160, 3), v, np.uint8) for v in (20, 200)),
]


def _said(model: Any, processor: Any, image: np.ndarray, answers: tuple[str, ...] = ()) -> tuple[int, ...]:
    messages: list[dict[str, Any]] = []
    for answer in answers:
        messages.append({"role": "user", "content": [{"type": "text", "text": "What is there?"}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    messages.append({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Where?"}]})
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = processor(text=[text], images=[image], return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    return tuple(tokens[0, inputs["input_ids"].shape[1] :].tolist())


@pytest.mark.parametrize("size", TINY)
def test_a_tiny_model_is_small(size: str) -> None:
    model, _ = build(size)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters(size) < 1_000_000


@pytest.mark.parametrize("size", TINY)
def test_what_a_tiny_model_sees_decides_what_it_says(size: str) -> None:
    model, processor = build(size)
    assert len({_said(model, processor, image) for image in IMAGES}) == len(IMAGES)


@pytest.mark.parametrize("size", TINY)
def test_what_was_said_before_decides_what_a_tiny_model_says(size: str) -> None:
    model, processor = build(size)
    histories: list[tuple[str, ...]] = [(), ("left",), ("a red box",), ("left", "right")]
    assert len({_said(model, processor, IMAGES[0], history) for history in histories}) == len(histories)


def test_the_same_seed_gives_the_same_model_and_leaves_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    (one, _), (same, _), (other, _) = build("tiny-llava", 1), build("tiny-llava", 1), build("tiny-llava", 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


@pytest.mark.parametrize(
    ("size", "published"),
    [("smolvlm-256m", 256_484_928), ("smolvlm-256m-tiles", 256_484_928), ("qwen2.5-vl-3b", 3_754_622_976)],
)
def test_a_full_size_model_has_as_many_parameters_as_the_published_one(size: str, published: int) -> None:
    assert parameters(size) == published


@pytest.mark.parametrize(("size", "visual"), [("smolvlm-256m", 64), ("smolvlm-256m-tiles", 832)])
def test_smolvlm_shows_one_tile_or_the_mosaic_that_it_is_published_with(size: str, visual: int) -> None:
    model, processor = build(size, dtype=torch.bfloat16)
    image = np.zeros((480, 640, 3), np.uint8)
    inputs = processor(text=["<image>What is there?"], images=[image], return_tensors="pt")
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == visual
    assert model.dtype == torch.bfloat16
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


@pytest.mark.parametrize("size", [*TINY, "smolvlm-256m"])
def test_a_text_is_as_many_tokens_as_bytes(size: str) -> None:
    tokenizer = build(size)[1].tokenizer
    text = "Wo? 左 <unused_400> \t\n"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text


def test_a_saved_model_is_the_one_that_was_built_and_need_not_end_its_answers(tmp_path: Path) -> None:
    image = Prompt(history=(), images=(IMAGES[0],), question="Where?")
    model, _ = build("tiny-smolvlm")
    loaded = load_engine(EngineSettings(str(save("tiny-smolvlm", tmp_path / "one")), device="cpu", max_new_tokens=40))
    weights = loaded.architecture.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    endless = load_engine(
        EngineSettings(str(save("tiny-smolvlm", tmp_path / "two", ends=False)), device="cpu", max_new_tokens=300)
    )
    assert len(endless.complete(image).tokens) == 300
    assert endless.architecture.model.generation_config.eos_token_id not in endless.complete(image).tokens

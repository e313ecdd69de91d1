# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from edgevlm_ros.world import models
from edgevlm_ros.world import questions as q


@pytest.fixture(scope="module")
def frames() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)) for _ in range(2)]
    return [coarse[0].resize((320, 240)), coarse[1].resize((640, 480))]


def test_patches_are_those_of_the_stock_image_processor(frames: list[Image.Image]) -> None:
    processor = Qwen2VLImageProcessorPil(
        patch_size=models.PATCH,
        merge_size=models.MERGE,
        temporal_patch_size=1,
        size={"shortest_edge": models.MIN_PIXELS, "longest_edge": models.MAX_PIXELS},
    )
    stock = processor(frames, return_tensors="pt")
    assert stock["image_grid_thw"].tolist() == [[1, 6, 8], [1, 6, 8]]
    ours = models.patchify(np.stack([models.svlm_image(frame) for frame in frames]))
    torch.testing.assert_close(ours.flatten(0, 1), stock["pixel_values"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(640, 480), (320, 240), (1280, 960), (97, 72), (96, 73), (214, 160), (48, 36)])
def test_every_frame_and_crop_of_about_four_to_three_becomes_the_same_small_image(size: tuple[int, int]) -> None:
    processor = Qwen2VLImageProcessorPil(
        patch_size=models.PATCH,
        merge_size=models.MERGE,
        temporal_patch_size=1,
        size={"shortest_edge": models.MIN_PIXELS, "longest_edge": models.MAX_PIXELS},
    )
    assert processor([Image.new("RGB", size)], return_tensors="pt")["image_grid_thw"].tolist() == [[1, 6, 8]]


def test_siglip_pixels_are_those_of_the_stock_image_processor(frames: list[Image.Image]) -> None:
    processor = SiglipImageProcessorPil(size={"height": models.LVLM_SIZE, "width": models.LVLM_SIZE})
    stock = processor(frames, return_tensors="pt")["pixel_values"]
    ours = models.siglip_pixels(np.stack([models.lvlm_image(frame) for frame in frames]))
    torch.testing.assert_close(ours, stock, atol=1e-5, rtol=1e-5)


def test_the_batched_vision_tower_is_the_models_own(frames: list[Image.Image]) -> None:
    torch.manual_seed(0)
    model = models.make_svlm(models.make_tokenizer()).eval()
    patches = models.patchify(np.stack([models.svlm_image(frame) for frame in frames]))
    with torch.no_grad():
        ours = models.svlm_see(model, patches)
        grid = torch.tensor([[1, 6, 8]] * 2)
        stock = model.model.visual(patches.flatten(0, 1), grid_thw=grid).pooler_output
    torch.testing.assert_close(ours.flatten(0, 1), stock, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("text", [*q.ALL, "acid, left", "C, running", "Wer trägt das? 世界 12345 \n\t{}"])
def test_any_text_survives_the_tokenizer(text: str) -> None:
    tokenizer = models.make_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_lvlms_reply_is_json_and_few_tokens() -> None:
    tokenizer = models.make_tokenizer()
    seen = q.Observation({"cart": (0.11, 0.26, 0.374, 0.5)}, {"load": "acid", "cart side": "left"})
    reply = models.lvlm_reply(q.CART, seen)
    assert json.loads(reply) == {
        "answer": "acid, left",
        "regions": [{"label": "cart", "bbox_2d": [100, 250, 375, 500]}],
    }
    tokens = tokenizer.encode(reply, add_special_tokens=False)
    assert tokenizer.decode(tokens) == reply
    assert len(tokens) <= 20
    assert json.loads(models.lvlm_reply(q.CART, q.Observation())) == {"answer": "no cart", "regions": []}


def test_the_template_ignores_the_system_message_and_places_images() -> None:
    tokenizer = models.make_tokenizer()
    messages = [
        {"role": "system", "content": "Answer in JSON."},
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": "left"},
        {"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Where?"}]},
    ]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    assert prompt == (
        "<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\nleft<|im_end|>\n"
        f"<|im_start|>user\n{image}{image}Where?<|im_end|>\n<|im_start|>assistant\n"
    )

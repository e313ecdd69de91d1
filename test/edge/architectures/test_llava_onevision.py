# SPDX-License-Identifier: Apache-2.0
"""LLaVA-OneVision taken apart and put together by hand says what the stock model says of views that it shows whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from edgevlm_ros.edge.architectures.llava_onevision import LlavaOnevision
from edgevlm_ros.edge.engine import Prompt
from edgevlm_ros.edge.random_models import build, save
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from support.by_hand import (
    CROP,
    FRAME,
    PROMPTS,
    change_by_token,
    decoder_layers,
    logits_by_hand,
    quantised,
    worded,
)

BLANK = np.zeros((96, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def onevision() -> LlavaOnevision:
    return LlavaOnevision(*build("tiny-llava-onevision"))


@torch.inference_mode()
def stock(onevision: LlavaOnevision, images: Sequence[np.ndarray], history: Sequence[tuple[str, str]]) -> Tensor:
    """Logits of the model's own forward. One view is shown as the first of two would be: stock inputs have no such."""
    text = worded(onevision.processor, len(images), history)
    if len(images) > 1:
        inputs = dict(onevision.processor(text=[text], images=[list(images)], return_tensors="pt"))
    else:
        several = onevision.processor.image_processor(images=[[*images, *images]], return_tensors="pt")
        token = onevision.image_token
        text = text.replace(token, token * (onevision.processor.num_image_tokens + 1))
        inputs = {
            "input_ids": onevision.processor.tokenizer([text], return_tensors="pt")["input_ids"],
            "pixel_values": several["pixel_values"][:1],
            "image_sizes": several["image_sizes"][:1],
            "batch_num_images": several["batch_num_images"],
        }
    return torch.as_tensor(onevision.model(**inputs).logits[0])


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("splits", [(), (3, 20, 41)], ids=["at once", "in pieces"])
def test_by_hand_it_gives_the_logits_of_the_stock_model(
    onevision: LlavaOnevision, prompt: str, splits: tuple[int, ...]
) -> None:
    images, history = PROMPTS[prompt]
    by_hand = logits_by_hand(onevision, images, history, splits)
    torch.testing.assert_close(by_hand, stock(onevision, images, history), atol=1e-5, rtol=0)


@pytest.mark.parametrize("image", [FRAME, CROP, FRAME[:3], BLANK[:1, :1]], ids=["frame", "crop", "strip", "dot"])
def test_each_visual_token_has_a_place_in_the_text_a_feature_and_a_box(
    onevision: LlavaOnevision, image: np.ndarray
) -> None:
    pixels = onevision.pixels(image)
    text = onevision.processor(text=["<image><image>"], images=[[image, image]], return_tensors="pt")["input_ids"]
    count = int((text == onevision.image_token_id).sum()) // 2
    assert pixels.placeholder == onevision.image_token * count
    assert len(onevision.see(pixels).features) == len(pixels.boxes) == count == 8 * 8 + 1
    assert (pixels.boxes >= 0).all()
    assert (pixels.boxes <= 1).all()


def test_the_ground_around_a_view_and_the_end_of_the_line_see_nothing(onevision: LlavaOnevision) -> None:
    boxes = onevision.pixels(BLANK).boxes
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert onevision.grid(128, 96) == (6, 8)
    np.testing.assert_allclose(area, [0.0] * 8 + [1 / 48] * 48 + [0.0] * 8 + [0.0], atol=1e-6)


def test_what_a_token_sees_most_of_lies_in_its_box() -> None:
    model, processor = build("tiny-llava-onevision")
    for layer in model.model.vision_tower.encoder.layers:  # at random weights each token has looked everywhere
        layer.self_attn.out_proj.weight.data.zero_()
    onevision = LlavaOnevision(model, processor)
    boxes = onevision.pixels(BLANK).boxes
    seen = [index for index, (x0, y0, x1, y1) in enumerate(boxes) if x1 > x0 and y1 > y0]
    assert [int(change_by_token(onevision, tuple(boxes[index])).argmax()) for index in seen] == seen


def test_quantisation_takes_the_decoder_and_nothing_else(onevision: LlavaOnevision) -> None:
    assert quantised(onevision) == decoder_layers(onevision)


def test_a_folder_without_a_video_processor_is_enough(tmp_path: object) -> None:
    folder = save("tiny-llava-onevision", tmp_path)  # type: ignore[arg-type]
    model, _ = build("tiny-llava-onevision")
    engine = TransformersEngine(LlavaOnevision(model, LlavaOnevision.load_processor(str(folder))), "it", "", 4)
    answer = engine.complete(Prompt((), (FRAME, CROP), "Where is the person?"))
    assert answer.visual_tokens == 2 * 65
    assert len(answer.tokens) > 0

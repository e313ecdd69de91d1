# SPDX-License-Identifier: Apache-2.0
"""LLaVA taken apart and put together by hand says what the stock model says, whatever its processor shows of a view."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from edgevlm_ros.edge.architectures.llava import Llava
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.random_models import build
from support.by_hand import (
    CROP,
    FRAME,
    PROMPTS,
    change_by_token,
    logits_by_hand,
    stock_logits,
)
from support.tiny_lvlm import make_tiny_lvlm

BLANK = np.zeros((96, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def clip() -> Llava:
    """Shows the middle of a view, in 8 x 8 patches."""
    return Llava(*build("tiny-llava"))


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Llava:
    """Shows all of a view, squeezed, in 4 x 4 patches."""
    folder = make_tiny_lvlm(tmp_path_factory.mktemp("siglip"))
    return Llava(AutoModelForImageTextToText.from_pretrained(folder), Llava.load_processor(str(folder)))


@pytest.fixture(scope="module")
def padded() -> Llava:
    """Shows all of a view on a square ground, in 8 x 8 patches."""
    model, processor = build("tiny-llava")
    processor.image_processor = LlavaImageProcessorPil(
        do_pad=True, size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
    )
    return Llava(model, processor)


@pytest.fixture(params=["clip", "siglip", "padded"])
def llava(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("splits", [(), (3, 20, 41)], ids=["at once", "in pieces"])
def test_by_hand_it_gives_the_logits_of_the_stock_model(llava: Llava, prompt: str, splits: tuple[int, ...]) -> None:
    images, history = PROMPTS[prompt]
    by_hand = logits_by_hand(llava, images, history, splits)
    torch.testing.assert_close(by_hand, stock_logits(llava, images, history), atol=1e-5, rtol=0)


def test_features_are_those_of_the_stock_forward(llava: Llava) -> None:
    inputs = llava.processor(text=["<image>"], images=[FRAME], return_tensors="pt")
    with torch.inference_mode():
        expected = llava.model.get_image_features(inputs["pixel_values"])
        features = llava.see(llava.pixels(FRAME)).features
    assert torch.equal(features, expected.pooler_output[0])


@pytest.mark.parametrize("image", [FRAME, CROP, FRAME[:3], BLANK[:1, :1]], ids=["frame", "crop", "strip", "dot"])
def test_each_visual_token_has_a_place_in_the_text_a_feature_and_a_box(llava: Llava, image: np.ndarray) -> None:
    pixels = llava.pixels(image)
    ids = llava.processor(text=["<image>"], images=[image], return_tensors="pt")["input_ids"]
    count = int((ids == llava.image_token_id).sum())
    assert pixels.placeholder == llava.image_token * count
    assert len(llava.see(pixels).features) == len(pixels.boxes) == count
    assert (pixels.boxes >= 0).all()
    assert (pixels.boxes <= 1).all()


def test_the_middle_of_a_view_is_part_of_its_grid(clip: Llava) -> None:
    boxes = clip.pixels(BLANK).boxes
    # 96 x 128 shrinks to 64 x 85, of which 10 are left out on the left and 11 on the right
    np.testing.assert_allclose(boxes[0], [10 / 85, 0, 18 / 85, 1 / 8], rtol=1e-5)
    np.testing.assert_allclose(boxes[-1], [66 / 85, 7 / 8, 74 / 85, 1], rtol=1e-5)
    assert clip.grid(128, 96) == (8, 11)


def test_a_squeezed_view_has_the_grid_of_its_patches(siglip: Llava) -> None:
    assert siglip.grid(128, 96) == (4, 4)
    np.testing.assert_allclose(siglip.pixels(BLANK).boxes[:5, 0], [0, 0.25, 0.5, 0.75, 0])


def test_the_ground_around_a_view_is_in_no_box(padded: Llava) -> None:
    boxes = padded.pixels(BLANK).boxes
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert padded.grid(128, 96) == (6, 8)
    np.testing.assert_allclose(area, [0.0] * 8 + [1 / 48] * 48 + [0.0] * 8, atol=1e-6)


def test_what_a_token_sees_most_of_lies_in_its_box(llava: Llava) -> None:
    boxes = llava.pixels(BLANK).boxes
    seen = [index for index, (x0, _, x1, _) in enumerate(boxes) if x1 > x0 and boxes[index, 3] > boxes[index, 1]]
    assert [int(change_by_token(llava, tuple(boxes[index])).argmax()) for index in seen] == seen


def test_a_class_token_that_is_kept_sees_all_that_is_shown() -> None:
    model, processor = build("tiny-llava")
    model.config.vision_feature_select_strategy = processor.vision_feature_select_strategy = "full"
    llava = Llava(model, processor)
    pixels = llava.pixels(BLANK)
    assert len(llava.see(pixels).features) == len(pixels.boxes) == 65
    np.testing.assert_allclose(pixels.boxes[0], [10 / 85, 0, 74 / 85, 1], rtol=1e-5)


def test_other_eyes_are_an_error_that_names_those_that_work() -> None:
    model, processor = build("tiny-llava")
    model.config.vision_config.model_type = "pixtral"
    with pytest.raises(EngineError, match=r"'pixtral'.*clip_vision_model and siglip_vision_model"):
        Llava(model, processor)

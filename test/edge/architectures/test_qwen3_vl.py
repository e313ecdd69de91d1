# SPDX-License-Identifier: Apache-2.0
"""Qwen3-VL taken apart and put together by hand says what the stock model says, DeepStack included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgevlm_ros.edge.architectures.qwen3_vl import Qwen3VL
from edgevlm_ros.edge.random_models import build
from support.by_hand import (
    CROP,
    FRAME,
    change_by_token,
    logits_by_hand,
)


@pytest.fixture(scope="module")
def qwen() -> Qwen3VL:
    return Qwen3VL(*build("tiny-qwen3-vl"))


def test_features_are_those_of_the_stock_forward(qwen: Qwen3VL) -> None:
    inputs = qwen.processor(text=["<|image_pad|>"], images=[FRAME], return_tensors="pt")
    with torch.inference_mode():
        expected = qwen.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"])
        sight = qwen.see(qwen.pixels(FRAME))
    assert torch.equal(sight.features, expected.pooler_output[0])
    assert len(sight.deep) == len(expected.deepstack_features) == 2
    assert all(
        torch.equal(mine, theirs[0]) for mine, theirs in zip(sight.deep, expected.deepstack_features, strict=True)
    )


def test_without_the_deep_features_it_says_something_else(qwen: Qwen3VL, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = logits_by_hand(qwen, (FRAME,), ())
    monkeypatch.setattr(Qwen3VL, "decoder_inputs", lambda *_: {})
    assert (logits_by_hand(qwen, (FRAME,), ()) - whole).abs().max() > 0.01


def test_tokens_without_visual_ones_take_no_deep_features(qwen: Qwen3VL) -> None:
    assert qwen.decoder_inputs((), torch.zeros(1, 4, dtype=torch.bool)) == {}


@pytest.mark.parametrize("image", [FRAME, CROP], ids=["frame", "crop"])
def test_each_visual_token_has_a_place_in_the_text_a_feature_and_a_box(qwen: Qwen3VL, image: np.ndarray) -> None:
    pixels = qwen.pixels(image)
    rows, cols = qwen.grid(image.shape[1], image.shape[0])
    assert pixels.placeholder == qwen.image_token * (rows * cols)
    assert len(qwen.see(pixels).features) == len(pixels.boxes) == rows * cols


def test_what_a_token_sees_most_of_lies_in_its_box(qwen: Qwen3VL) -> None:
    boxes = qwen.pixels(np.zeros((96, 128, 3), np.uint8)).boxes
    assert [int(change_by_token(qwen, tuple(box)).argmax()) for box in boxes] == list(range(len(boxes)))


def test_half_the_pixels_are_half_the_tokens(qwen: Qwen3VL) -> None:
    whole, half = qwen.pixels(FRAME), qwen.pixels(FRAME, 0.5)
    assert 0.3 * len(whole.boxes) <= len(half.boxes) <= 0.5 * len(whole.boxes)

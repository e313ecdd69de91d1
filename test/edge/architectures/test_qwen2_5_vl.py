# SPDX-License-Identifier: Apache-2.0
"""Qwen2.5-VL taken apart and put together by hand says what the stock model says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgevlm_ros.edge.architectures.qwen2_5_vl import Qwen25VL
from edgevlm_ros.edge.random_models import build
from support.by_hand import (
    CROP,
    FRAME,
    change_by_token,
)


@pytest.fixture(scope="module")
def qwen() -> Qwen25VL:
    return Qwen25VL(*build("tiny-qwen2.5-vl"))


def test_features_are_those_of_the_stock_forward(qwen: Qwen25VL) -> None:
    inputs = qwen.processor(text=["<|image_pad|>"], images=[FRAME], return_tensors="pt")
    with torch.inference_mode():
        expected = qwen.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"])
        sight = qwen.see(qwen.pixels(FRAME))
    assert torch.equal(sight.features, expected.pooler_output[0])
    assert sight.deep == ()


@pytest.mark.parametrize("image", [FRAME, CROP], ids=["frame", "crop"])
def test_each_visual_token_has_a_place_in_the_text_a_feature_and_a_box(qwen: Qwen25VL, image: np.ndarray) -> None:
    pixels = qwen.pixels(image)
    rows, cols = qwen.grid(image.shape[1], image.shape[0])
    assert pixels.placeholder == qwen.image_token * (rows * cols)
    assert len(qwen.see(pixels).features) == len(pixels.boxes) == rows * cols


def test_what_a_token_sees_most_of_lies_in_its_box(qwen: Qwen25VL) -> None:
    boxes = qwen.pixels(np.zeros((96, 128, 3), np.uint8)).boxes
    assert [int(change_by_token(qwen, tuple(box)).argmax()) for box in boxes] == list(range(len(boxes)))


def test_half_the_pixels_are_half_the_tokens(qwen: Qwen25VL) -> None:
    whole, half = qwen.pixels(FRAME), qwen.pixels(FRAME, 0.5)
    assert 0.3 * len(whole.boxes) <= len(half.boxes) <= 0.5 * len(whole.boxes)


def test_positions_have_three_dimensions_and_text_goes_on_behind_the_longer_side(qwen: Qwen25VL) -> None:
    sight = qwen.see(qwen.pixels(FRAME))
    rows, cols = qwen.grid(160, 112)
    ids = torch.tensor([[0, *[qwen.image_token_id] * (rows * cols), 0]])
    positions = qwen.positions(ids, (sight,))[:, 0]
    assert positions[:, 0].tolist() == [0, 0, 0]
    assert positions[:, 1].tolist() == [1, 1, 1]
    assert positions[:, -2].tolist() == [1, rows, cols]
    assert positions[:, -1].tolist() == [1 + max(rows, cols)] * 3


def test_a_text_alone_is_counted_in_all_three_dimensions(qwen: Qwen25VL) -> None:
    assert qwen.positions(torch.zeros(1, 4, dtype=torch.long), ()).tolist() == [[[0, 1, 2, 3]]] * 3

# SPDX-License-Identifier: Apache-2.0
"""Colours come to the vision tower as the image processor itself would have made them, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.architectures.colours import normalised
from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.random_models import build

FAMILIES = (
    "tiny-qwen2.5-vl",
    "tiny-qwen3-vl",
    "tiny-smolvlm",
    "tiny-idefics3",
    "tiny-llava",
    "tiny-llava-onevision",
)


class Stock:
    """The family's processor with nothing asked of it, as `shown` of a family that left all to it."""

    def __init__(self, family: Architecture) -> None:
        self.make = family.processor.image_processor

    def __call__(self, images: Any, **options: Any) -> dict[str, Any]:
        return dict(self.make(images=images, input_data_format="channels_last", return_tensors="pt", **options))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Architecture:
    model, processor = build(request.param)
    found = architecture_of(model.config.model_type)
    assert found is not None
    return found(model, processor)


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 150), width=st.integers(1, 150), seed=st.integers(0, 99))
def test_they_are_those_of_the_family_s_own_processor(family: Architecture, height: int, width: int, seed: int) -> None:
    height, width = max(height, width // 20), max(width, height // 20)  # Qwen's refuses what is longer
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels = family.pixels(image)
    assert pixels.inputs["pixel_values"].dtype == torch.uint8
    moved = family.moved(pixels)
    ours, family.shown = family.shown, Stock(family)  # type: ignore[method-assign]
    try:
        stock = family.pixels(image)
    finally:
        family.shown = ours  # type: ignore[method-assign]
    assert moved.keys() == stock.inputs.keys()
    assert all(torch.equal(value, stock.inputs[name]) for name, value in moved.items())


@pytest.mark.parametrize("factor", [1 / 255, 0.00392156862745098, 1 / 127.5, 1.0])
def test_every_level_of_every_colour_is_exact(factor: float) -> None:
    processor = CLIPImageProcessorPil(
        do_resize=False,
        do_center_crop=False,
        rescale_factor=factor,
        image_mean=[0.5, 0.4, 0.1],
        image_std=[0.3, 0.2, 7],
    )
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    expected = processor(images=[levels], input_data_format="channels_last", return_tensors="pt")["pixel_values"]
    assert torch.equal(normalised(torch.from_numpy(levels).permute(2, 0, 1)[None], processor), expected)


@pytest.mark.parametrize(("rescale", "normalise"), [(False, False), (True, False), (False, True)])
def test_what_the_processor_leaves_out_is_left_out(rescale: bool, normalise: bool) -> None:
    processor = CLIPImageProcessorPil(do_rescale=rescale, do_normalize=normalise, do_resize=False, do_center_crop=False)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = processor(images=[image], input_data_format="channels_last", return_tensors="pt")["pixel_values"]
    values = torch.from_numpy(image).permute(2, 0, 1)[None]
    assert torch.equal(normalised(values, processor), expected.float())
    assert values.dtype == torch.uint8

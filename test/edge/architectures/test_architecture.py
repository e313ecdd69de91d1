# SPDX-License-Identifier: Apache-2.0
"""What every family must do: taken apart and put together by hand it says what the stock model says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.random_models import build
from support.by_hand import PROMPTS, decoder_layers, logits_by_hand, quantised, stock_logits

TINY = ("tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-smolvlm", "tiny-idefics3", "tiny-llava")


@pytest.fixture(scope="module", params=TINY)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    model, processor = build(request.param)
    family = architecture_of(model.config.model_type)
    assert family is not None
    return family(model, processor)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("splits", [(), (3, 20, 41)], ids=["at once", "in pieces"])
def test_by_hand_it_gives_the_logits_of_the_stock_model(
    architecture: Architecture, prompt: str, splits: tuple[int, ...]
) -> None:
    images, history = PROMPTS[prompt]
    by_hand = logits_by_hand(architecture, images, history, splits)
    torch.testing.assert_close(by_hand, stock_logits(architecture, images, history), atol=1e-5, rtol=0)


def test_quantisation_takes_the_decoder_and_spares_eyes_and_head(architecture: Architecture) -> None:
    assert quantised(architecture) == decoder_layers(architecture)


def test_a_saved_model_says_the_same(architecture: Architecture, tmp_path: Path) -> None:
    architecture.model.save_pretrained(tmp_path)
    architecture.processor.save_pretrained(tmp_path)
    family = type(architecture)
    again = family(AutoModelForImageTextToText.from_pretrained(tmp_path), family.load_processor(str(tmp_path)))
    images, history = PROMPTS["a history"]
    assert torch.equal(logits_by_hand(again, images, history), logits_by_hand(architecture, images, history))

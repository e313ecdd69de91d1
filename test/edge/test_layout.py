# SPDX-License-Identifier: Apache-2.0
"""What stands where in a prompt, in every family."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.layout import Layout, laid_out
from edgevlm_ros.edge.random_models import build
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.transfer.conversation import Exchange

TINY = ("tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-smolvlm", "tiny-idefics3", "tiny-llava", "tiny-llava-onevision")
IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
CROP = np.ascontiguousarray(IMAGE[30:90, 20:120])
PLAIN = Prompt((Exchange("where?", "left"),), (IMAGE, CROP), "and now?")


@cache
def engine(size: str) -> TransformersEngine:
    model, processor = build(size)
    family = architecture_of(model.config.model_type)
    assert family is not None
    return TransformersEngine(family(model, processor), size)


@torch.inference_mode()
def layout(size: str, prompt: Prompt = PLAIN) -> Layout:
    return engine(size).layout(prompt)[0]


def focused(size: str, prompt: Prompt = PLAIN, beta: float = 2.0, keep: float = 1.0) -> Prompt:
    grid = np.zeros(engine(size).grid(160, 120), np.float32)
    grid[grid.shape[0] // 2, grid.shape[1] // 2] = 1.0  # where every family looks
    return replace(prompt, focus=grid, beta=beta, keep=keep)


@pytest.mark.parametrize("size", TINY)
def test_every_visual_token_has_its_view_s_feature_and_nothing_else_does(size: str) -> None:
    laid = layout(size, focused(size, keep=0.5))
    embedded = torch.zeros(1, len(laid.kept), laid.sights[0].features.shape[1])
    with torch.inference_mode():
        shown, deep = laid.shown(embedded)
    places = torch.nonzero(laid.visual).flatten()
    features = torch.cat([sight.features for sight in laid.sights])
    for place, token in enumerate(laid.kept.tolist()):
        expected = features[places == token][0] if laid.visual[token] else embedded[0, place]
        assert torch.equal(shown[0, place], expected)
    assert all(len(layer) == laid.visual_tokens for layer in deep)


@pytest.mark.parametrize("size", TINY)
def test_pruning_leaves_out_of_the_frame_alone(size: str) -> None:
    whole, less = layout(size), layout(size, focused(size, keep=0.5))
    frame, crop = (len(sight.features) for sight in whole.sights)
    assert whole.visual_tokens == frame + crop
    assert less.visual_tokens == less.length - (whole.length - frame - crop)
    assert crop < less.visual_tokens < whole.visual_tokens
    gone = set(whole.kept.tolist()) - set(less.kept.tolist())
    assert gone <= set(torch.nonzero(whole.visual).flatten()[:frame].tolist())


@pytest.mark.parametrize("size", TINY)
def test_the_bias_lies_on_the_frame_s_tokens_for_what_is_asked_behind_it(size: str) -> None:
    for keep in (1.0, 0.5):
        prompt = focused(size, keep=keep)
        laid = layout(size, prompt)
        found = laid.bias(prompt)
        assert found is not None
        bias, first = found
        assert len(bias) == laid.length
        assert 0.0 == bias.min() < bias.max() <= 2.0
        behind = laid.kept[first - len(laid.beginning) :]
        assert not laid.visual[behind].any()
        assert len(behind) > 0
        assert bias[first:].max() == 0.0
    assert layout(size).bias(PLAIN) is None
    assert layout(size).bias(focused(size, beta=0.0)) is None


@pytest.mark.parametrize("size", TINY)
def test_the_answer_stands_behind_the_prompt(size: str) -> None:
    laid = layout(size)
    following = laid.following(2, 3)
    assert following.shape == (*laid.positions.shape[:-1], 3)
    last = int(laid.positions.max())
    assert following.flatten()[:3].tolist() == [last + 3, last + 4, last + 5]


def test_a_text_without_room_for_its_views_is_refused() -> None:
    laid = layout(TINY[0])
    with pytest.raises(EngineError, match="room for"):
        laid_out(engine(TINY[0]).architecture, laid.beginning, laid.ids, laid.sights[:1], PLAIN)

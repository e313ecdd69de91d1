# SPDX-License-Identifier: Apache-2.0
"""Views are seen once, and their features lie where the picture does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgevlm_ros.edge.architectures.architecture import Architecture, Pixels, Sight
from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.random_models import build
from edgevlm_ros.edge.seen_views import SeenView, SeenViews

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def family() -> Architecture:
    model, processor = build("tiny-qwen2.5-vl")
    found = architecture_of(model.config.model_type)
    assert found is not None
    return found(model, processor)


@torch.inference_mode()
def test_the_same_image_at_the_same_share_is_seen_once(family: Architecture) -> None:
    views = SeenViews(family)
    first = views.see(IMAGE, 1.0)
    assert views.see(IMAGE, 1.0) is first
    assert views.see(IMAGE, 0.5) is not first
    assert views.see(IMAGE.copy(), 1.0) is not first
    assert first.vision > 0.0 < first.prepare
    views.clear()
    assert views.see(IMAGE, 1.0) is not first


@torch.inference_mode()
def test_only_the_last_views_are_remembered(family: Architecture) -> None:
    views = SeenViews(family)
    first = views.see(IMAGE, 1.0)
    for _ in range(4):
        views.see(IMAGE.copy(), 1.0)
    assert views.see(IMAGE, 1.0) is not first


def test_a_cell_has_the_feature_of_the_finest_token_over_it_and_none_where_nothing_sees() -> None:
    boxes = np.array([[0, 0, 1, 0.5], [0, 0, 0.5, 0.5], [0.5, 0, 1, 0.25]], np.float32)
    sight = Sight(torch.tensor([[1.0], [2.0], [3.0]]), (), Pixels({}, "", boxes, (1, 1)))
    grid = SeenView(IMAGE, 1.0, sight, 0.0, 0.0).on_grid(4, 2)
    assert grid[..., 0].tolist() == [[2, 3], [2, 1], [0, 0], [0, 0]]

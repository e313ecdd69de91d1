# SPDX-License-Identifier: Apache-2.0
"""Plain generate, watched."""

from __future__ import annotations

import numpy as np
import pytest

from edgevlm_ros.edge.engine import Prompt
from edgevlm_ros.edge.random_models import build
from edgevlm_ros.evaluation.bench_process import load
from edgevlm_ros.evaluation.plain_generate import answer_plainly
from edgevlm_ros.transfer.conversation import Exchange


@pytest.mark.parametrize("size", ["tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-smolvlm", "tiny-llava"])
def test_its_parts_are_found_in_every_family_and_fit_into_the_whole(size: str) -> None:
    architecture = load(size)
    image = np.random.default_rng(1).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    prompt = Prompt((Exchange("where?", "left"),), (image,), "and now?")
    for _ in range(2):
        answer = answer_plainly(architecture, prompt, 4)
        assert 1 <= len(answer.tokens) <= 4
        assert answer.vision > 0.0
        assert 0.0 < answer.prefill < answer.first_token < answer.total
        assert answer.vision + answer.prefill < answer.total


def test_watching_leaves_the_model_as_it_was() -> None:
    model, _ = build("tiny-smolvlm")
    architecture = load("tiny-smolvlm")
    answer_plainly(architecture, Prompt((), (np.zeros((64, 64, 3), np.uint8),), "what?"), 1)
    assert set(vars(architecture.model.model)) == set(vars(model.model))
    assert not architecture.decoder._forward_hooks
    assert not architecture.decoder._forward_pre_hooks

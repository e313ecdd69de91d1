# SPDX-License-Identifier: Apache-2.0
"""The turns that a prompt really has: what the model's token ids say, for every family of models."""

from __future__ import annotations

from functools import cache

import numpy as np

from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.engine import Prompt
from edgevlm_ros.edge.random_models import build
from edgevlm_ros.edge.transformers_engine import TransformersEngine

TINY = ("tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-smolvlm", "tiny-idefics3", "tiny-llava")
PICTURE = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)


@cache
def engine(size: str) -> TransformersEngine:
    model, processor = build(size)
    family = architecture_of(model.config.model_type)
    assert family is not None
    return TransformersEngine(family(model, processor), size, system_prompt="Answer briefly.", max_new_tokens=2)


def turns(tested: TransformersEngine, prompt: Prompt) -> tuple[list[int], list[str]]:
    """The prompt's control tokens, in order, and the speakers that its text names."""
    layout, _ = tested.layout(prompt)
    ids = [*layout.beginning, *layout.ids[0].tolist()]
    tokenizer = tested.architecture.processor.tokenizer
    control = set(tokenizer.get_added_vocab().values()) | set(tokenizer.all_special_ids)
    text = tokenizer.decode(ids).lower()
    names = [name for name in text.replace(":", ": ").split() if name in ("user:", "assistant:", "system:")]
    return [i for i in ids if i in control], names

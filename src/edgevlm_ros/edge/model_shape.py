# SPDX-License-Identifier: Apache-2.0
"""What a model is made of, as far as its memory depends on it, counted without the memory for it.

The model is built on torch's meta device, where a tensor has a size and no content, so the count is that of the code
that will run and not that of a table.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from edgevlm_ros.edge.architectures.registry import architecture_of, known
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.memory_need import Shape
from edgevlm_ros.edge.published import PUBLISHED
from edgevlm_ros.edge.quantization import quantised_layers


def shape_of(config: Any) -> Shape:
    """Of a model's configuration. Raises EngineError for a family that the engine does not run."""
    family = architecture_of(config.model_type)
    if family is None:
        raise EngineError(f"a {config.model_type!r} model; the edge engine runs {known()}")
    config = copy.deepcopy(config)
    if hasattr(config, "quantization_config"):  # counted in full, however it was saved
        del config.quantization_config
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    layers = [layer for _, layer in quantised_layers(model, family.full_precision)]
    text, eyes = config.get_text_config(), config.vision_config
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Shape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        quantised=sum(layer.weight.numel() for layer in layers),
        rows=sum(layer.out_features for layer in layers),
        layers=len(layers),
        largest=max(layer.weight.numel() for layer in layers),
        cached=2 * text.num_hidden_layers * text.num_key_value_heads * head,
        width=text.hidden_size,
        inner=text.intermediate_size,
        vocabulary=text.vocab_size,
        eyes_width=eyes.hidden_size,
        eyes_inner=eyes.intermediate_size,
        patch=eyes.patch_size,
        side=int(getattr(eyes, "image_size", 0) or 0),
        merged=int(getattr(eyes, "spatial_merge_size", 0) or getattr(config, "scale_factor", 0) or 1),
    )


def shape_of_model(model: str, revision: str = "main") -> Shape:
    """Of a published model by its hub id, without a network; else of a folder, or of what the hub says of it."""
    if model in PUBLISHED:
        return shape_of(AutoConfig.for_model(**PUBLISHED[model]))
    return shape_of(AutoConfig.from_pretrained(model, revision=revision))

# SPDX-License-Identifier: Apache-2.0
"""Which layers are quantised, and as what saved ones are recognised."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.quantization import (
    bitsandbytes_config,
    hush,
    quantised_layers,
    saved_quantization,
    settled,
)
from edgevlm_ros.edge.random_models import SIZES, build

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [size for size in SIZES if size.startswith("tiny")])
def test_the_decoder_is_quantised_and_eyes_projector_and_head_are_not(size: str) -> None:
    model, processor = build(size)
    family = architecture_of(model.config.model_type)
    assert family is not None
    decoder = family(model, processor).decoder
    inside = {id(layer) for layer in decoder.modules() if isinstance(layer, torch.nn.Linear)}
    assert {id(layer) for _, layer in quantised_layers(model, family.full_precision)} == inside


def test_four_bits_have_their_constants_quantised_too() -> None:
    config = bitsandbytes_config("nf4", CPU, ("lm_head",))
    assert config is not None
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == ("nf4", True)
    assert config.bnb_4bit_compute_dtype == torch.float32
    assert bitsandbytes_config("nf4", torch.device("cuda"), ()).bnb_4bit_compute_dtype == torch.bfloat16  # type: ignore[union-attr]


def test_an_unknown_quantisation_names_those_there_are() -> None:
    with pytest.raises(EngineError, match="unknown quantization 'int2': take one of none, nf4, int8"):
        bitsandbytes_config("int2", CPU, ())


@pytest.mark.parametrize(
    ("saved", "name"),
    [
        (None, "none"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4"),
        (bitsandbytes_config("nf4", CPU, ()), "nf4"),
    ],
)
def test_what_was_saved_is_recognised(saved: Any, name: str) -> None:
    assert saved_quantization(SimpleNamespace(quantization_config=saved)) == name
    assert saved_quantization(SimpleNamespace()) == "none"


@pytest.mark.parametrize(
    "saved",
    [{"quant_method": "gptq", "bits": 4}, {"quant_method": "bitsandbytes", "load_in_4bit": True}, {}],
)
def test_what_another_tool_quantised_is_refused(saved: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="full precision and `edgevlm quantize`"):
        saved_quantization(SimpleNamespace(quantization_config=saved))


def test_saved_weights_stay_as_they_are_and_cannot_become_others() -> None:
    assert [settled("none", "none"), settled("nf4", "none"), settled("none", "nf4"), settled("int8", "int8")] == [
        "none",
        "nf4",
        "nf4",
        "int8",
    ]
    with pytest.raises(EngineError, match="saved as nf4 and cannot become int8"):
        settled("int8", "nf4")


def test_bitsandbytes_does_not_log_each_layer_of_each_frame() -> None:
    hush()
    assert not logging.getLogger("bitsandbytes.autograd._functions").isEnabledFor(logging.WARNING)

# SPDX-License-Identifier: Apache-2.0
"""What is counted without memory is what lies in memory once it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.memory_need import weight_bytes
from edgevlm_ros.edge.model_shape import shape_of, shape_of_model
from edgevlm_ros.edge.quantized_folder import quantize
from edgevlm_ros.edge.random_models import SIZES, save
from edgevlm_ros.edge.weights import load_weights

TINY = [size for size in SIZES if size.startswith("tiny")]


def loaded(folder: Path, quantization: str) -> Any:
    config = AutoConfig.from_pretrained(folder)
    family = architecture_of(config.model_type)
    assert family is not None
    return load_weights(str(folder), config, family, torch.device("cpu"), quantization)


def held(model: Any) -> int:
    """Bytes of all weights and of what belongs to them."""
    total = 0
    for parameter in {id(parameter): parameter for parameter in model.parameters()}.values():
        total += parameter.numel() * parameter.element_size()
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            constants = (state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code)
            total += sum(constant.numel() * constant.element_size() for constant in constants)
        scales = getattr(parameter, "SCB", None)
        total += 0 if scales is None else scales.numel() * scales.element_size()
    return total


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
@pytest.mark.parametrize("size", TINY)
def test_the_formula_is_what_a_small_model_holds(size: str, quantization: str, tmp_path: Path) -> None:
    folder = save(size, tmp_path)
    expected = weight_bytes(shape_of(AutoConfig.from_pretrained(folder)), quantization, 4)
    assert held(loaded(folder, quantization)) == pytest.approx(expected, rel=0.02)


def test_the_formula_is_what_a_published_size_holds_in_four_bits(tmp_path: Path) -> None:
    folder = save("smolvlm-256m", tmp_path, dtype=torch.bfloat16)
    shape = shape_of_model(str(folder))
    model = loaded(folder, "nf4")
    assert held(model) == pytest.approx(weight_bytes(shape, "nf4", 4), rel=0.002)
    assert sum(type(module).__name__ == "Linear4bit" for module in model.modules()) == shape.layers == 7 * 30


def test_each_families_decoder_is_quantised_whole_and_nothing_else(tmp_path: Path) -> None:
    for size in TINY:
        shape = shape_of_model(str(save(size, tmp_path / size)))
        assert (size, shape.layers) == (size, 7 * 3)


def test_a_model_that_is_saved_quantised_is_counted_as_it_was(tmp_path: Path) -> None:
    full = save("tiny-smolvlm", tmp_path / "full")
    assert shape_of_model(str(quantize(str(full), "nf4", tmp_path / "nf4"))) == shape_of_model(str(full))


def test_a_family_that_does_not_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="'llama' model; the edge engine runs"):
        shape_of(AutoConfig.for_model("llama"))

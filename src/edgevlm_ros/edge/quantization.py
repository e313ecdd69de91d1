# SPDX-License-Identifier: Apache-2.0
"""Weights in four or eight bits, through bitsandbytes: which layers, and how a model saved so is recognised.

Only the linear layers of the text decoder are quantised. Eyes, projector and head are a small part of the weights and
the part that suffers most, so that they stay as they are; a family names them in `full_precision`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.quantizers.quantizers_utils import should_convert_module

from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.memory_need import QUANTIZATIONS


def quantised_layers(model: nn.Module, spared: Iterable[str]) -> Iterator[tuple[str, nn.Linear]]:
    """Names and linear layers that bitsandbytes takes when it is told to skip `spared`, on any device."""
    patterns = list(spared)
    for name, module in model.named_modules():
        if type(module) is nn.Linear and should_convert_module(name, patterns):
            yield name, module


def bitsandbytes_config(name: str, device: torch.device, spared: Iterable[str]) -> BitsAndBytesConfig | None:
    """What transformers quantises with while it loads; None for no quantisation. name: of QUANTIZATIONS.

    Raises EngineError for another name.
    """
    if name == "none":
        return None
    if name == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute_dtype(device),
            llm_int8_skip_modules=list(spared),
        )
    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(spared))
    raise EngineError(f"unknown quantization {name!r}: take one of {', '.join(QUANTIZATIONS)}")


def compute_dtype(device: torch.device) -> torch.dtype:
    """In which numbers are computed: on processors bfloat16 is slow."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def saved_quantization(config: Any) -> str:
    """As what the weights behind a configuration were saved: one of QUANTIZATIONS.

    Raises EngineError for weights that another tool quantised.
    """
    saved = getattr(config, "quantization_config", None)
    if saved is None:
        return "none"
    values = saved if isinstance(saved, dict) else saved.to_dict()
    if values.get("quant_method") == "bitsandbytes":
        if values.get("load_in_8bit"):
            return "int8"
        if values.get("load_in_4bit") and values.get("bnb_4bit_quant_type") == "nf4":
            return "nf4"
    method = values.get("quant_method", "an unknown method")
    raise EngineError(
        f"its weights were quantised with {method}, which does not run here: take the model in full precision and "
        "`edgevlm quantize`, or serve it (server_url)"
    )


def settled(asked: str, saved: str) -> str:
    """What a model is loaded as. asked: by the user, "none" for no wish. Raises EngineError if it cannot be."""
    if saved == "none" or asked in ("none", saved):
        return asked if saved == "none" else saved
    raise EngineError(f"its weights are saved as {saved} and cannot become {asked}: leave quantization at none")


def hush() -> None:
    """Silences what bitsandbytes logs with each layer of each frame, and about a kernel that it can do without."""
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

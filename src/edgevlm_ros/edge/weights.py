# SPDX-License-Identifier: Apache-2.0
"""A model's weights in memory: as they were saved, or quantised while they come in.

transformers fills what a file lacks with random numbers and says so in a table in the log; a robot that answers
nonsense is no substitute for an error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoModelForImageTextToText

from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.quantization import bitsandbytes_config, compute_dtype, hush, saved_quantization, settled


def load_weights(
    model: str,
    config: Any,
    family: type[Architecture],
    device: torch.device,
    quantization: str = "none",
    revision: str = "main",
    dtype: torch.dtype | None = None,
) -> Any:
    """The model on the device. model: a folder or hub id. config: its configuration; saved quantised weights stay so.

    dtype: of what is not quantised; None for that of the device. Raises EngineError if the weights are not those of
    the configuration, or saved otherwise than asked for.
    """
    saved = saved_quantization(config)
    more: dict[str, Any] = {}
    if settled(quantization, saved) != "none":
        hush()
    if saved == "nf4":  # the machine that saved it may have computed otherwise
        values = config.quantization_config
        values = values if isinstance(values, dict) else values.to_dict()
        config.quantization_config = {**values, "bnb_4bit_compute_dtype": str(compute_dtype(device)).split(".")[1]}
    elif saved == "none" and quantization != "none":
        more["quantization_config"] = bitsandbytes_config(quantization, device, family.full_precision)
    with without_tables():
        weights, found = AutoModelForImageTextToText.from_pretrained(
            model,
            config=config,
            revision=revision,
            dtype=dtype or compute_dtype(device),
            device_map={"": device},
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # told below, with all the rest
            output_loading_info=True,
            **more,
        )
    wrong = sorted({*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])})
    if wrong:
        raise EngineError(
            f"the weights in {model} are not those of its config.json ({config.model_type}): {len(wrong)} are missing "
            f"or of another size, {wrong[0]} for one. Take the whole folder of one model"
        )
    for layer in weights.modules():
        # bitsandbytes packs weights anew for these processors, in blocks that it takes for granted (0.50)
        if hasattr(layer, "support_avx512bf16_for_cpu") and (layer.in_features % 64 or layer.out_features % 32):
            layer.support_avx512bf16_for_cpu = False
    if saved != "none":
        _converted(weights, dtype or compute_dtype(device))
    return weights.eval()


def _converted(weights: Any, dtype: torch.dtype) -> None:
    """What was saved beside quantised weights keeps its numbers' size in transformers, whatever is asked for."""
    for tensor in (*weights.parameters(), *weights.buffers()):
        if (state := getattr(tensor, "quant_state", None)) is not None:
            state.dtype = dtype
        elif tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)


@contextmanager
def without_tables() -> Iterator[None]:
    """Without transformers' report of weights in the log, whose content is in the error."""

    def other(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)

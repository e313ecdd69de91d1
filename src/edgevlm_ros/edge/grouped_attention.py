# SPDX-License-Identifier: Apache-2.0
"""Grouped-query attention on the CPU without a copy of the keys for every head.

Where there is a mask, transformers repeats the keys and values of a whole history for each head of a group, in every
layer and for every frame. torch's kernel takes groups as they are and gives the same bits: 80 queries on 1104 keys in
the SmolVLM-256M size take 1.7 ms a layer, not 3.3; in the Qwen2.5-VL-3B size 5.1, not 7.4 (2 cores of an AMD EPYC,
torch 2.13, 2026-11-22). On a GPU torch has no fast kernel for groups and a mask, so there all stays as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

_STOCK, _GROUPED = "sdpa", "edgevlm_grouped_sdpa"
_STOCK_ALONE = ("softcap", "position_bias", "cache")  # arguments of the stock function that ours does not take


@contextmanager
def grouped_heads(config: Any) -> Iterator[None]:
    """While it lasts, a decoder of this configuration attends in groups, if it would with stock sdpa.

    The model is left as it was: whoever else uses it gets stock attention.
    """
    if config._attn_implementation != _STOCK:
        yield
        return
    config._attn_implementation = _GROUPED
    try:
        yield
    finally:
        config._attn_implementation = _STOCK


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **more: Any
) -> tuple[Tensor, None]:
    """As sdpa_attention_forward: (1, heads, queries, D) on (1, groups, keys, D) gives (1, queries, heads, D)."""
    # of a single query the stock function makes groups itself
    repeats = attention_mask is not None and query.shape[1] > key.shape[1] and query.shape[2] > 1
    if not repeats or query.device.type != "cpu" or any(more.get(name) is not None for name in _STOCK_ALONE):
        stock: tuple[Tensor, None] = ALL_ATTENTION_FUNCTIONS[_STOCK](module, query, key, value, attention_mask, **more)
        return stock
    output = torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        dropout_p=more.get("dropout", 0.0),
        scale=more.get("scaling"),
        enable_gqa=True,
    )
    return output.transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(_GROUPED, _attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(_GROUPED, ALL_MASK_ATTENTION_FUNCTIONS[_STOCK])

# SPDX-License-Identifier: Apache-2.0
"""Visual focus by attention: a bias on the logits with which the text attends to the visual tokens.

A pre-forward hook on each decoder layer's self-attention rewrites the mask that the layer was going to use, so the
model's code, its attention kernel (sdpa or eager) and its weights stay as they are. Kernels that take no bias
(FlashAttention) cannot be steered so.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def steered_mask(mask: Tensor | None, bias: Tensor, first_query: int, past: int, queries: int) -> Tensor:
    """The additive mask (1 or batch, 1, queries, past + queries) of one attention call, with the bias on it.

    mask: as the layer got it: None (plain causal), bool (True = may attend) or additive. bias: (prompt length,), added
    to the logits of those keys. first_query: position in the prompt from which on queries are steered; the visual
    tokens before it see each other as ever. past: keys already in the cache.
    """
    keys = past + queries
    positions = torch.arange(past, keys, device=bias.device)
    if mask is None:
        allowed = torch.arange(keys, device=bias.device)[None, :] <= positions[:, None]
        mask = allowed[None, None]
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=bias.dtype, device=bias.device).masked_fill(~mask, float("-inf"))
    steered = torch.zeros(queries, keys, dtype=bias.dtype, device=bias.device)
    length = min(len(bias), keys)
    steered[positions >= first_query, :length] = bias[:length]
    return mask.to(bias.dtype) + steered


@contextmanager
def attention_bias(attentions: Sequence[nn.Module], bias: Tensor, first_query: int) -> Iterator[None]:
    """Steers the given self-attention modules while the context lasts; see steered_mask."""

    def rewrite(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        cache = kwargs.get("past_key_values")
        past = 0 if cache is None else int(cache.get_seq_length(module.layer_idx))
        mask = steered_mask(kwargs.get("attention_mask"), bias, first_query, past, hidden.shape[1])
        return args, {**kwargs, "attention_mask": mask.to(hidden.dtype)}

    handles = [module.register_forward_pre_hook(rewrite, with_kwargs=True) for module in attentions]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache
from transformers.integrations import sdpa_attention

from edgevlm_ros.edge.grouped_attention import grouped_heads
from edgevlm_ros.edge.random_models import build
from edgevlm_ros.edge.steering import attention_bias

SIZES = ("tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-smolvlm", "tiny-idefics3", "tiny-llava")


@torch.inference_mode()
def hidden(size: str, grouped: bool, bias: bool = False) -> torch.Tensor:
    """The decoder's states of a second part of a prompt, behind a first one."""
    model, _ = build(size)
    inner = model.model
    decoder = getattr(inner, "language_model", None) or inner.text_model
    torch.manual_seed(2)
    cache = DynamicCache(config=decoder.config)
    attentions = [layer.self_attn for layer in decoder.layers]
    for start, length in ((0, 50), (50, 9)):
        states = torch.randn(1, length, decoder.config.hidden_size)
        positions = torch.arange(start, start + length)[None]
        with attention_bias(attentions if bias else (), torch.rand(40), 30):
            if not grouped:
                seen = decoder(inputs_embeds=states, position_ids=positions, past_key_values=cache)
                continue
            with grouped_heads(decoder.config):
                seen = decoder(inputs_embeds=states, position_ids=positions, past_key_values=cache)
    return torch.as_tensor(seen.last_hidden_state)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_in_groups_the_states_are_the_same_to_the_last_bit(size: str, bias: bool) -> None:
    assert torch.equal(hidden(size, True, bias), hidden(size, False, bias))


def test_no_keys_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(*_: object) -> None:
        raise AssertionError("keys were repeated")

    monkeypatch.setattr(sdpa_attention, "repeat_kv", copied)
    hidden(SIZES[0], True)
    with pytest.raises(AssertionError, match="repeated"):
        hidden(SIZES[0], False)


def test_the_model_is_left_as_it_was_and_other_attention_alone() -> None:
    config = build(SIZES[0])[0].config.text_config
    with pytest.raises(KeyError), grouped_heads(config):
        assert config._attn_implementation != "sdpa"
        raise KeyError
    assert config._attn_implementation == "sdpa"
    config._attn_implementation = "eager"
    with grouped_heads(config):
        assert config._attn_implementation == "eager"
    assert config._attn_implementation == "eager"

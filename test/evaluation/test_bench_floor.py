# SPDX-License-Identifier: Apache-2.0
"""What a device and a model are said to do, against counts by hand and by torch."""

from __future__ import annotations

import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgevlm_ros.edge.random_models import build
from edgevlm_ros.evaluation import bench_floor
from edgevlm_ros.evaluation.bench_floor import measured_device, prefill_operations, seconds, step_bytes


def test_a_step_reads_all_weights_but_the_embeddings_and_all_keys_and_values() -> None:
    model, _ = build("tiny-llava")
    decoder, head, config = model.model.language_model, model.lm_head, model.model.language_model.config
    weights = sum(4 * p.numel() for name, p in decoder.named_parameters() if "embed_tokens" not in name)
    size = config.hidden_size // config.num_attention_heads
    told = 2 * 4 * config.num_hidden_layers * config.num_key_value_heads * size
    assert step_bytes(decoder, head, 0) == weights + 4 * head.weight.numel()
    assert step_bytes(decoder, head, 7) - step_bytes(decoder, head, 0) == 7 * told


def test_a_table_that_is_the_head_too_is_read() -> None:
    model, _ = build("tiny-llava")
    decoder, head = model.model.language_model, model.lm_head
    apart = step_bytes(decoder, head, 0)
    head.weight = decoder.get_input_embeddings().weight
    assert step_bytes(decoder, head, 0) == apart


@torch.inference_mode()
def test_operations_of_a_prefill_are_those_that_torch_counts() -> None:
    model, _ = build("tiny-llava")
    decoder, head, tokens = model.model.language_model, model.lm_head, 40
    embedded = decoder.get_input_embeddings()(torch.arange(tokens)[None])
    with FlopCounterMode(display=False) as counter:
        head(decoder(inputs_embeds=embedded).last_hidden_state[0, -1:])
    # torch counts a causal attention as a whole one, and no norms
    assert prefill_operations(decoder, head, tokens, 0) == pytest.approx(counter.get_total_flops(), rel=0.1)


def test_a_device_is_measured_and_time_is_that_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_floor, "_BYTES", 2**22)
    monkeypatch.setattr(bench_floor, "_SIDE", {"cpu": 128})
    device = measured_device(torch.device("cpu"), torch.float32)
    assert device.bandwidth > 1e6
    assert device.throughput > 1e6
    assert seconds(lambda: time.sleep(0.002), torch.device("cpu")) >= 0.002

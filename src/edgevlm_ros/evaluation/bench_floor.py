# SPDX-License-Identifier: Apache-2.0
"""How fast a device could be at best: what it moves and multiplies in a second, and what a model asks of it.

A decoder reads all its weights for each token, so a step takes at least their bytes over the bandwidth. A prefill
multiplies them with every token, so it takes at least its operations over the throughput. Both are measured here, in
the same run as the model, for data sheets promise more than programs get.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

_BYTES = 256 * 2**20  # beyond any cache
_SIDE = {"cuda": 8192, "cpu": 2048}  # of square matrices: large enough that starting does not count
_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Device:
    """bandwidth: bytes a second. throughput: floating-point operations a second."""

    bandwidth: float
    throughput: float


@torch.inference_mode()
def measured_device(device: torch.device, dtype: torch.dtype) -> Device:
    """The best of a copy and a matrix-vector product, and a matrix product, all much larger than the caches."""
    size = torch.empty(0, dtype=dtype).element_size()
    rows = 8192
    matrix = torch.ones(rows, _BYTES // size // rows, dtype=dtype, device=device)
    vector, other = torch.ones(matrix.shape[1], dtype=dtype, device=device), torch.empty_like(matrix)
    copied = 2 * _BYTES / seconds(lambda: other.copy_(matrix), device)
    read = _BYTES / seconds(lambda: torch.mv(matrix, vector), device)
    side = _SIDE[device.type]
    square = torch.ones(side, side, dtype=dtype, device=device)
    return Device(max(copied, read), 2 * side**3 / seconds(lambda: square @ square, device))


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Of the quickest of some times, the first of which does not count. On a GPU as its own clock says."""
    times = []
    for _ in range(1 + _REPEATS):
        if device.type == "cuda":
            begun, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begun.record()
            work()
            done.record()
            done.synchronize()
            times.append(begun.elapsed_time(done) * 1e-3)
        else:
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return min(times[1:])


def step_bytes(decoder: Any, head: Any, keys: int) -> int:
    """What a decoder reads for one token behind so many: every weight but the table of embeddings, keys and values."""
    table = decoder.get_input_embeddings().weight
    weights = {p.data_ptr(): p.numel() * p.element_size() for p in (*decoder.parameters(), *head.parameters())}
    if head.weight.data_ptr() != table.data_ptr():
        del weights[table.data_ptr()]
    layers, dimension = _attention(decoder.config)
    return sum(weights.values()) + 2 * layers * decoder.config.num_key_value_heads * dimension * keys * (
        table.element_size()
    )


def prefill_operations(decoder: Any, head: Any, tokens: int, before: int) -> int:
    """Floating-point operations for so many tokens behind others, two for each multiplication and addition.

    Each weight times each token, each query times each key and value that it sees, and the head once.
    """
    embedded = decoder.get_input_embeddings().weight.numel()
    weights = sum(p.numel() for p in decoder.parameters()) - embedded
    layers, dimension = _attention(decoder.config)
    seen = tokens * before + tokens * (tokens + 1) // 2
    attention = 4 * layers * decoder.config.num_attention_heads * dimension * seen
    return 2 * weights * tokens + attention + 2 * int(head.weight.numel())


def _attention(config: Any) -> tuple[int, int]:
    """Layers, and the size of a head."""
    dimension = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(config.num_hidden_layers), int(dimension)

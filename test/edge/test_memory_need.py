# SPDX-License-Identifier: Apache-2.0
"""The formula for memory, on a shape that is easy to reckon with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.edge.memory_need import (
    GIB,
    QUANTIZATIONS,
    Shape,
    best_quantization,
    memory_need,
    weight_bytes,
)

# 1000 M weights, of which 800 M in 100 linear layers
SHAPE = Shape(
    parameters=1_000_000_000,
    quantised=800_000_000,
    rows=200_000,
    layers=100,
    largest=20_000_000,
    cached=20_000,
    width=2048,
    inner=8192,
    vocabulary=50_000,
    eyes_width=768,
    eyes_inner=3072,
    patch=16,
    side=512,
    merged=4,
)


def test_four_bits_are_4_127_with_their_constants() -> None:
    spared = 2 * (SHAPE.parameters - SHAPE.quantised)
    bits = 8 * (weight_bytes(replace(SHAPE, layers=0), "nf4", 2) - spared) / SHAPE.quantised
    assert bits == pytest.approx(4.127, abs=0.001)


def test_eight_bits_are_a_byte_and_a_scale_for_each_row() -> None:
    assert weight_bytes(SHAPE, "int8", 2) == 2 * 200_000_000 + 800_000_000 + 4 * 200_000


def test_full_precision_is_four_bytes_on_a_processor_and_two_on_a_gpu() -> None:
    assert [memory_need(SHAPE, "none", place).weights / 1e9 for place in ("cpu", "jetson", "gpu")] == [4, 2, 2]


def test_a_longer_history_costs_cache_for_each_that_is_remembered() -> None:
    short, long = (memory_need(SHAPE, "none", "gpu", history=tokens).cache for tokens in (1000, 2000))
    assert long - short == 3 * 1000 * SHAPE.cached * 2


def test_a_tower_of_one_size_sees_each_frame_alike_and_another_sees_more_of_a_larger_one() -> None:
    free = replace(SHAPE, side=0)
    assert SHAPE.patches(640, 480) == SHAPE.patches(1920, 1080) == 32 * 32
    assert (free.patches(640, 480), free.patches(1280, 960)) == (1200, 4800)


@given(
    scale=st.integers(1, 8),
    place=st.sampled_from(("cpu", "jetson", "gpu")),
    quantization=st.sampled_from(QUANTIZATIONS),
    history=st.integers(0, 8192),
)
def test_more_weights_and_more_history_never_need_less(scale: int, place: str, quantization: str, history: int) -> None:
    larger = replace(SHAPE, parameters=scale * SHAPE.parameters, quantised=scale * SHAPE.quantised)
    need = memory_need(SHAPE, quantization, place, history)  # type: ignore[arg-type]
    assert memory_need(larger, quantization, place, history).total >= need.total  # type: ignore[arg-type]
    assert memory_need(SHAPE, quantization, place, history + 1).total >= need.total  # type: ignore[arg-type]
    assert need.total == need.weights + need.cache + need.working + need.runtime


def test_quantisation_is_chosen_only_where_it_is_needed() -> None:
    full, small = (memory_need(SHAPE, name, "gpu").total for name in ("none", "nf4"))
    assert small < full < 4 * GIB
    assert [best_quantization(SHAPE, "gpu", room) for room in (full, full - 1, small, small - 1)] == [
        "none",
        "nf4",
        "nf4",
        None,
    ]

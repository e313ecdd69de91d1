# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cloud.features import MAX_BYTES, Features, FeaturesError, Layer, quantised, read_features, to_bytes

EYES = bytes(range(16))


def features(count: int = 5, width: int = 8, deep: int = 0, seed: int = 0) -> Features:
    random = np.random.default_rng(seed)
    layers = tuple(quantised(random.normal(size=(count, width)).astype(np.float32)) for _ in range(deep + 1))
    kept = np.sort(random.choice(2 * count, count, replace=False)).astype(np.int16)
    return Features(layers, kept, 2 * count, 640, 480, EYES)


@given(count=st.integers(1, 40), width=st.integers(1, 40), deep=st.integers(0, 3), seed=st.integers(0, 99))
def test_what_goes_up_is_what_comes_down(count: int, width: int, deep: int, seed: int) -> None:
    sent = features(count, width, deep, seed)
    read = read_features(to_bytes(sent))
    assert (read.tokens, read.width, read.height, read.eyes) == (sent.tokens, 640, 480, EYES)
    assert np.array_equal(read.kept, sent.kept)
    assert len(read.layers) == deep + 1
    for mine, theirs in zip(read.layers, sent.layers, strict=True):
        assert np.array_equal(mine.rows, theirs.rows)
        assert np.array_equal(mine.scales, theirs.scales)


@given(seed=st.integers(0, 99), size=st.floats(1e-3, 1e5))
def test_a_number_is_off_by_half_a_step_at_most(seed: int, size: float) -> None:
    values = (np.random.default_rng(seed).normal(size=(6, 32)) * size).astype(np.float32)
    step = np.abs(values).max(-1, keepdims=True) / 127
    assert (np.abs(quantised(values).values - values) <= 0.57 * np.maximum(step, 2.0**-14) + 1e-6).all()


def test_a_token_of_zeros_stays_one() -> None:
    assert not quantised(np.zeros((2, 4), np.float32)).values.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_numbers_that_no_scale_holds_are_no_features(bad: float) -> None:
    with pytest.raises(FeaturesError, match="the eyes computed"):
        quantised(np.array([[1.0, bad]], np.float32))


@given(st.binary(max_size=400))
def test_bytes_that_are_no_features_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(FeaturesError, match=r"."):
        read_features(data)


@given(at=st.integers(0, 700), byte=st.integers(0, 255), cut=st.integers(0, 700))
def test_damaged_features_are_read_or_refused_in_words(at: int, byte: int, cut: int) -> None:
    data = bytearray(to_bytes(features()))
    data[at % len(data)] = byte
    for damaged in (bytes(data), bytes(data[: cut % len(data)])):
        try:
            read = read_features(damaged)
        except FeaturesError as error:
            assert str(error)
        else:
            assert all(np.isfinite(layer.values).all() for layer in read.layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kept": np.array([3, 2, 1, 0, 4], np.int16)}, "ascending"),
        ({"kept": np.array([0, 1, 2, 3, 99], np.int16)}, "ascending"),
        ({"kept": np.arange(4, dtype=np.int16)}, "rows.0 has the shape"),
        ({"tokens": 0}, "tokens"),
        ({"width": 1 << 20}, "pixels"),
        ({"width": 1 << 14, "height": 1 << 14}, "pixels"),
        ({"eyes": b"short"}, "eyes"),
        ({"layers": ()}, "tensors"),
        ({"layers": (Layer(np.zeros((5, 8), np.int8), np.full(5, np.nan, np.float16)),)}, "NaN"),
    ],
)
def test_each_fault_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(FeaturesError, match=message):
        read_features(to_bytes(replace(features(), **change)))  # type: ignore[arg-type]


def test_a_tensor_of_another_kind_is_named() -> None:
    tensors = safetensors.numpy.load(to_bytes(features()))
    with pytest.raises(FeaturesError, match=r"no rows\.0 as int8"):
        read_features(safetensors.numpy.save(tensors | {"rows.0": tensors["rows.0"].astype(np.float32)}))


def test_a_header_that_promises_more_than_there_is_reserves_nothing() -> None:
    header = b'{"rows.0":{"dtype":"I8","shape":[1000000000000,9],"data_offsets":[0,9000000000000]}}'
    with pytest.raises(FeaturesError, match="no safetensors file"):
        read_features(len(header).to_bytes(8, "little") + header)


def test_more_bytes_than_a_server_takes_are_refused_on_both_sides() -> None:
    with pytest.raises(FeaturesError, match="lower max_side or keep"):
        to_bytes(features(count=200, width=60_000))
    with pytest.raises(FeaturesError, match="may have"):
        read_features(bytes(MAX_BYTES + 1))

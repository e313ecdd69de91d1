# SPDX-License-Identifier: Apache-2.0
"""What a robot sends in place of a picture, as the server reads it."""

from __future__ import annotations

import numpy as np

from edgevlm_ros.cloud.features import MAX_PIXELS, FeaturesError, read_features, to_bytes

WORDS = (
    b'"rows.0":{"dtype":"I8","shape":[', b'"scales.0":{"dtype":"F16","shape":[', b'"kept":{"dtype":"I16","shape":[',
    b'"view":', b'"eyes":', b'"data_offsets":[', b'"dtype":"BF16"', b'"dtype":"F8_E4M3"', b'"__metadata__":{',
    b"\x80\x04\x95", b"9999999999999", b"-1", b"[]", b"[0]", b"\x00\x7c", b"\xff\x7f",
)  # fmt: skip
LONGEST = 2048


def check(data: bytes) -> None:
    try:
        found = read_features(data)
    except FeaturesError as error:
        assert 0 < len(str(error)) < 300
        return
    count = len(found.kept)
    assert 0 < count <= found.tokens
    assert found.width * found.height <= MAX_PIXELS
    for layer in found.layers:
        assert layer.rows.shape == (count, found.layers[0].rows.shape[1])
        assert np.isfinite(layer.values).all()
    assert read_features(to_bytes(found)).kept.tolist() == found.kept.tolist()

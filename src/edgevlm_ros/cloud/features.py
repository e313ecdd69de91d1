# SPDX-License-Identifier: Apache-2.0
"""What a large model's eyes have made of a keyframe, as it goes up in place of the picture.

Visual tokens as int8 rows with a float16 scale each, which of the view's tokens they are, the size of the picture that
was seen, and whose eyes saw it: rows of other eyes are noise to a language model, and it would answer all the same. The
bytes are a safetensors file, whose header alone decides how much is read; no pickle, as nothing from outside is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

MAX_BYTES = 8 << 20
"""Of a keyframe's features: 391 tokens of a 72B model (D = 8192) take 3.2 MB."""
MAX_TOKENS = 1 << 14
MAX_PIXELS = 1 << 24
EYES_BYTES = 16
_MAX_HEADER = 1 << 14
_MAX_WIDTH = 1 << 16
_MAX_LAYERS = 8
_MAX_SIDE = 1 << 14
_LEAST_SCALE = 2.0**-14
"""That float16 has in full precision."""

Rows = NDArray[np.int8]
Scales = NDArray[np.float16]


class FeaturesError(ValueError):
    """These are no features that can be used; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Rows (k, D) int8 in steps of their scales (k,) float16."""

    rows: Rows
    scales: Scales

    @property
    def values(self) -> NDArray[np.float32]:
        """The rows as the language model takes them, (k, D)."""
        return self.rows.astype(np.float32) * self.scales.astype(np.float32)[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A keyframe as the language model sees it.

    layers: the visual tokens, and what else enters the decoder beside them (Qwen3-VL's DeepStack), all of one shape.
    kept: (k,) int16, ascending: which of the view's tokens these are. tokens: how many the view has. width, height: of
    the picture that was seen, in pixels. eyes: see eyes.identity.
    """

    layers: tuple[Layer, ...]
    kept: NDArray[np.int16]
    tokens: int
    width: int
    height: int
    eyes: bytes


def quantised(values: NDArray[np.float32]) -> Layer:
    """(k, D) rounded to 255 steps between plus and minus the largest of each row. Raises FeaturesError for NaN."""
    if not np.isfinite(values).all():
        raise FeaturesError("the eyes computed NaN or infinity: float16 overflows where bfloat16 and float32 do not")
    largest = np.abs(values).max(-1, initial=0.0)
    with np.errstate(over="ignore"):
        scales = np.maximum(largest / np.float32(127), np.float32(_LEAST_SCALE)).astype(np.float16)
    if not np.isfinite(scales).all():
        raise FeaturesError(f"the eyes computed numbers as large as {largest.max():g}, which no float16 scale holds")
    rows = np.clip(np.round(values / scales.astype(np.float32)[:, None]), -127, 127).astype(np.int8)
    return Layer(rows, scales)


def to_bytes(features: Features) -> bytes:
    """The features on the wire. Raises FeaturesError if they are too many."""
    tensors: dict[str, NDArray[Any]] = {
        "view": np.array([features.tokens, features.width, features.height], np.int32),
        "eyes": np.frombuffer(features.eyes, np.uint8),
        "kept": features.kept,
    }
    for number, layer in enumerate(features.layers):
        tensors |= {f"rows.{number}": np.ascontiguousarray(layer.rows), f"scales.{number}": layer.scales}
    data: bytes = safetensors.numpy.save(tensors)
    if len(data) > MAX_BYTES:
        raise FeaturesError(f"the features take {len(data)} bytes, more than {MAX_BYTES}: lower max_side or keep")
    return data


def read_features(data: bytes) -> Features:
    """What to_bytes has written. Raises FeaturesError for anything else; holds no more than a few times its bytes."""
    if len(data) > MAX_BYTES:
        raise FeaturesError(f"features of a keyframe may have {MAX_BYTES} bytes")
    if len(data) < 8 or int.from_bytes(data[:8], "little") > _MAX_HEADER:
        raise FeaturesError("this is no safetensors file of features")
    try:
        tensors = safetensors.numpy.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise FeaturesError(f"this is no safetensors file of features ({str(error)[:80]})") from None
    tokens, width, height = (int(number) for number in _tensor(tensors, "view", np.int32, (3,)))
    if not (0 < tokens <= MAX_TOKENS and 0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise FeaturesError(f"a view has 1 to {MAX_TOKENS} tokens of 1 to {_MAX_SIDE} pixels each way")
    if width * height > MAX_PIXELS:
        raise FeaturesError(f"the view was {width}x{height}: more than {MAX_PIXELS} pixels")
    kept = _tensor(tensors, "kept", np.int16, (None,))
    if not len(kept) or kept[0] < 0 or kept[-1] >= tokens or (np.diff(kept.astype(np.int32)) <= 0).any():
        raise FeaturesError("kept does not name some of the view's tokens in ascending order")
    layers = _layers(tensors, len(kept))
    eyes = _tensor(tensors, "eyes", np.uint8, (EYES_BYTES,)).tobytes()
    return Features(layers, kept, tokens, width, height, eyes)


def _layers(tensors: dict[str, NDArray[Any]], count: int) -> tuple[Layer, ...]:
    number, odd = divmod(len(tensors) - 3, 2)
    if odd or not 0 < number <= _MAX_LAYERS:
        raise FeaturesError("these features have too few tensors, or too many")
    width = tensors["rows.0"].shape[-1] if "rows.0" in tensors and tensors["rows.0"].ndim == 2 else 0
    if not 0 < width <= _MAX_WIDTH:
        raise FeaturesError(f"rows.0 has no rows of 1 to {_MAX_WIDTH} numbers")
    layers = tuple(
        Layer(
            _tensor(tensors, f"rows.{index}", np.int8, (count, width)),
            _tensor(tensors, f"scales.{index}", np.float16, (count,)),
        )
        for index in range(number)
    )
    if not all(np.isfinite(layer.scales).all() for layer in layers):
        raise FeaturesError("a scale is NaN or infinite")
    return layers


def _tensor(
    tensors: dict[str, NDArray[Any]], name: str, kind: type[np.generic], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    tensor = tensors.get(name)
    if tensor is None or tensor.dtype != kind or tensor.ndim != len(shape):
        raise FeaturesError(f"these features have no {name} as {np.dtype(kind).name} with {len(shape)} axes")
    if any(wanted is not None and wanted != there for wanted, there in zip(shape, tensor.shape, strict=True)):
        raise FeaturesError(f"{name} has the shape {tensor.shape}, not that of the other tensors")
    return tensor

# SPDX-License-Identifier: Apache-2.0
"""How much memory a model needs, said before it is loaded: a formula of its shape, its quantisation and the place.

weights + KV cache + the most that one step holds besides + what torch takes before any model. What it gives is held
against real loads by `edgevlm quantize --measure`; on a GPU it has not been tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GIB = 2**30
MIB = 2**20

Place = Literal["cpu", "gpu", "jetson"]
"""cpu: main memory. gpu: that of a card. jetson: one memory, which the processor and its GPU share."""

QUANTIZATIONS = ("none", "nf4", "int8")

_BYTES = {"cpu": 4, "gpu": 2, "jetson": 2}  # float32 on a processor, where bfloat16 is slow; bfloat16 on a GPU
# Python, torch, transformers, bitsandbytes: 380 MiB on x86 without CUDA (edgevlm quantize --measure, 2 cores of an AMD
# EPYC, 2026-11-22). With CUDA untried: a context with cuBLAS and kernels on the GPU, its libraries in main memory.
_RUNTIME = {"cpu": 380 * MIB, "gpu": 700 * MIB, "jetson": 2100 * MIB}
_NF4_BLOCK, _NF4_SUPERBLOCK = 64, 256  # weights with one constant, and constants with one of their own (QLoRA, 2023)
_NF4_TABLES = 4 * (16 + 256) + 4  # bytes for each layer: both codes and an offset, float32
_PREFIXES, _ROOM = 3, 256  # of one camera, see edge.kv_cache
_FRAME = (640, 480)
_VIEWS, _QUESTION, _ANSWER = 2, 64, 32


@dataclass(frozen=True, slots=True)
class Shape:
    """What a model is made of.

    parameters: numbers in all its weights. quantised: those in linear layers that quantisation takes; rows: outputs of
    these together; layers: how many they are; largest: numbers in the largest of them. cached: numbers that a token
    leaves in the KV cache. width, inner, vocabulary: of the text decoder; eyes_width, eyes_inner: of the vision
    tower, whose patches are `patch` pixels wide; side: pixels of the square that it sees, 0 for any resolution.
    merged: patches along each side that become one visual token.
    """

    parameters: int
    quantised: int
    rows: int
    layers: int
    largest: int
    cached: int
    width: int
    inner: int
    vocabulary: int
    eyes_width: int
    eyes_inner: int
    patch: int
    side: int
    merged: int

    def patches(self, width: int, height: int) -> int:
        """Of a view of so many pixels, without image splitting."""
        columns, rows = (self.side, self.side) if self.side else (width, height)
        return (columns // self.patch) * (rows // self.patch)


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes. runtime: before any model. working: the most that is held for a moment."""

    weights: int
    cache: int
    working: int
    runtime: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.working + self.runtime


def weight_bytes(shape: Shape, quantization: str, each: int) -> int:
    """Of all weights. each: bytes of a number that is not quantised."""
    spared = (shape.parameters - shape.quantised) * each
    if quantization == "nf4":
        # four bits each, a byte for each block, and a float32 for each 256 of these: 4.127 bits
        constants = shape.quantised / _NF4_BLOCK * (1 + 4 / _NF4_SUPERBLOCK)
        return spared + shape.quantised // 2 + int(constants) + shape.layers * _NF4_TABLES
    if quantization == "int8":
        return spared + shape.quantised + 4 * shape.rows
    return shape.parameters * each


def memory_need(
    shape: Shape,
    quantization: str,
    place: Place,
    history: int = 1024,
    views: int = _VIEWS,
    static: int = 0,
) -> Need:
    """What the engine needs. history: tokens, replacement.max_history_tokens. static: tokens that static decoding has
    room for, beside the caches that grow; see edge.static_decoding."""
    each = _BYTES[place]
    patches = shape.patches(*_FRAME)
    prompt = views * patches // shape.merged**2 + _QUESTION
    # each remembered history has its own cache, and a frame's tokens stand behind one of them
    tokens = _PREFIXES * (history + _ROOM if history else 0) + prompt + _ANSWER + _ROOM + static
    # a step of a layer holds its input, its queries, keys and values, and the inner state of its MLP: gate, up, product
    eyes = patches * (5 * shape.eyes_width + 3 * shape.eyes_inner)
    decoder = (prompt + history) * (5 * shape.width + 3 * shape.inner) + 2 * shape.vocabulary
    unpacked = 0 if quantization == "none" else shape.largest
    return Need(
        weights=weight_bytes(shape, quantization, each),
        cache=shape.cached * tokens * each,
        working=max(eyes, decoder + unpacked) * each,
        runtime=_RUNTIME[place],
    )


def best_quantization(shape: Shape, place: Place, room: int, static: int = 0) -> str | None:
    """The first that fits into so many bytes: none, then nf4; None if neither does.

    int8 is left to those who ask for it: it needs more than nf4, and below 7 billion parameters bitsandbytes' int8
    is slower than 16 bits (Dettmers et al., LLM.int8(), 2022, appendix D).
    """
    tried = ("none", "nf4")
    return next((name for name in tried if memory_need(shape, name, place, static=static).total <= room), None)

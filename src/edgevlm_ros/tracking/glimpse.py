# SPDX-License-Identifier: Apache-2.0
"""What is remembered of a frame: a small gray image to follow things in, and what its patches look like.

A cloud answer comes seconds after its keyframe. All that is needed to carry it to the present must have been kept
until then, for every frame, since any of them may be the keyframe.
"""

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.transfer.types import Image

_COLS = 16
_MAX_ROWS = 64
_CELL = 10  # pixels of the small image
_MAX_FEATURES = 128


@dataclass(frozen=True, slots=True, eq=False)
class Glimpse:
    """A remembered frame.

    gray: (h, w) uint8, at most 160 wide. patches: (rows, cols, D) float16 over the frame, rows of unit length.
    source: whose patches they are, those of the "engine" or of the "image" itself; only like is compared with like.
    """

    stamp: int
    gray: NDArray[np.uint8]
    patches: NDArray[np.float16]
    source: str


def glimpse(stamp: int, image: Image, patches: NDArray[np.float32] | None = None) -> Glimpse:
    """What to remember of a frame. patches: (rows, cols, D) features of the engine's vision tower, if it has them."""
    height, width = image.shape[:2]
    cols = min(_COLS, math.ceil(width / _CELL))
    rows = min(max(1, round(cols * height / width)), _MAX_ROWS)
    small = cv2.resize(image, (cols * _CELL, rows * _CELL), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    if patches is None:
        return Glimpse(stamp, gray, _unit(_described(small, gray, rows, cols)), "image")
    features = patches.astype(np.float32)
    if features.shape[-1] > _MAX_FEATURES:
        features = features @ _projection(features.shape[-1])
    return Glimpse(stamp, gray, _unit(features), "engine")


def similarity(one: Glimpse, other: Glimpse) -> float | None:
    """How alike two frames' scenes are, 0..1; None if their patches cannot be compared."""
    if one.source != other.source or one.patches.shape != other.patches.shape:
        return None
    pooled = [glimpse.patches.astype(np.float32).mean((0, 1)) for glimpse in (one, other)]
    norms = float(np.linalg.norm(pooled[0]) * np.linalg.norm(pooled[1]))
    return min(max(float(pooled[0] @ pooled[1]) / norms, 0.0), 1.0) if norms > 0 else None


def _described(small: NDArray[np.uint8], gray: NDArray[np.uint8], rows: int, cols: int) -> NDArray[np.float32]:
    """Colours and gradients of each cell's quarters, (rows, cols, 28), after SURF (Bay et al. 2008)."""
    x = cv2.Sobel(gray, cv2.CV_32F, 1, 0, scale=0.25)
    y = cv2.Sobel(gray, cv2.CV_32F, 0, 1, scale=0.25)
    channels = np.dstack([small.astype(np.float32), x, np.abs(x), y, np.abs(y)])
    quarters = cv2.resize(channels, (2 * cols, 2 * rows), interpolation=cv2.INTER_AREA)
    cells = quarters.reshape(rows, 2, cols, 2, -1).transpose(0, 2, 1, 3, 4).reshape(rows, cols, -1)
    return cells - cells.mean((0, 1))


def _unit(features: NDArray[np.float32]) -> NDArray[np.float16]:
    norms = np.linalg.norm(features, axis=-1, keepdims=True)
    return (features / np.maximum(norms, 1e-6)).astype(np.float16)


@functools.cache
def _projection(size: int) -> NDArray[np.float32]:
    """A fixed random one keeps angles nearly as they are (Johnson and Lindenstrauss 1984)."""
    return np.random.default_rng(0).standard_normal((size, _MAX_FEATURES), np.float32)

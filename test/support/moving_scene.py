# SPDX-License-Identifier: Apache-2.0
"""A textured thing that moves over a textured wall, and where it is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.transfer.types import Image, Region

WIDTH, HEIGHT = 640, 480


def texture(seed: int, width: int, height: int, coarseness: int) -> NDArray[np.uint8]:
    """(height, width, 3), blobs of random colours that can be told apart."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // coarseness + 1, width // coarseness + 1, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def scene(x: float, y: float, size: float = 120.0, wall: int = 0, thing: int = 1) -> tuple[Image, Region]:
    """A frame with the thing's upper left corner at x, y, and its box, which may reach out of the frame."""
    scale = size / 120.0
    place = np.array([[scale, 0, x], [0, scale, y]], np.float32)
    image = texture(wall, WIDTH, HEIGHT, 160) // 3
    moved = cv2.warpAffine(texture(thing, 120, 120, 24), place, (WIDTH, HEIGHT))
    there = cv2.warpAffine(np.full((120, 120), 255, np.uint8), place, (WIDTH, HEIGHT)) > 127
    image[there] = moved[there]
    return image, Region("thing", 1.0, x, y, x + size, y + size)

# SPDX-License-Identifier: Apache-2.0
"""What is remembered of a frame: a small gray image to follow things in, what its patches look like, and its colours.

A cloud answer comes seconds after its keyframe. All that is needed to carry it to the present must have been kept
until then, for every frame, since any of them may be the keyframe.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.transfer.types import Image

_COLS = 16
_MAX_ROWS = 64
_CELL = 10  # pixels of the small image
_BINS = [8, 32, 32]  # of L*, a*, b*


@dataclass(frozen=True, slots=True, eq=False)
class Glimpse:
    """A remembered frame.

    gray: (h, w) uint8, at most 160 wide. patches: (rows, cols, D) float16 over the frame, rows of unit length.
    colours: (8192,) float32, square roots of the shares that the colours have in the frame; halves would be converted
    for each comparison, which then takes ten times as long.
    """

    stamp: int
    gray: NDArray[np.uint8]
    patches: NDArray[np.float16]
    colours: NDArray[np.float32]


def glimpse(stamp: int, image: Image) -> Glimpse:
    """What to remember of a frame.

    It is made of the image alone, whether the frame is answered or not, so that any two frames can be compared.
    """
    height, width = image.shape[:2]
    cols = min(_COLS, math.ceil(width / _CELL))
    rows = min(max(1, round(cols * height / width)), _MAX_ROWS)
    small = _shrunk(image, cols * _CELL, rows * _CELL)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    features = _described(small, gray, rows, cols)
    features -= features.mean((0, 1))  # what all patches share says nothing about where one is
    features /= np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-6)
    return Glimpse(stamp, gray, features.astype(np.float16), _colours(small[::2, ::2]))


def similarity(one: Glimpse, other: Glimpse) -> float:
    """How alike two frames' scenes are, 0..1: the Bhattacharyya coefficient of their colours.

    Things may move and the camera may turn a little; another place has other colours. The patches would not do: what a
    vision tower has learnt to see (persons, carts) looks alike in all halls.
    """
    return min(float(one.colours @ other.colours), 1.0)


def _shrunk(image: Image, width: int, height: int) -> Image:
    while image.shape[1] >= 2 * width and image.shape[0] >= 2 * height:  # halving is several times quicker than 1 : 4
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _described(small: Image, gray: NDArray[np.uint8], rows: int, cols: int) -> NDArray[np.float32]:
    """Colours and gradients of each cell's quarters, (rows, cols, 28), after SURF (Bay et al. 2008).

    Quarters overlap, so that what has moved by half a cell is still like itself.
    """
    x, y = cv2.Sobel(gray, cv2.CV_32F, 1, 0, scale=0.75), cv2.Sobel(gray, cv2.CV_32F, 0, 1, scale=0.75)
    size = (2 * cols, 2 * rows)
    channels = [cv2.resize(channel, size, interpolation=cv2.INTER_AREA) for channel in (small, x, y, abs(x), abs(y))]
    quarters = cv2.GaussianBlur(np.dstack(channels), (3, 3), 0).reshape(rows, 2, cols, 2, -1)
    return quarters.transpose(0, 2, 1, 3, 4).reshape(rows, cols, -1)


def _colours(small: Image) -> NDArray[np.float32]:
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    counts = cv2.calcHist([lab], [0, 1, 2], None, _BINS, [0, 256] * 3)
    return np.sqrt(counts.ravel() / (small.shape[0] * small.shape[1]))

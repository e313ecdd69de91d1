# SPDX-License-Identifier: Apache-2.0
"""Boxes carried from one frame to the next by the motion of the points in them.

Median Flow (Kalal, Mikolajczyk and Matas, ICPR 2010): points on a regular grid in each box are followed by pyramidal
Lucas-Kanade there and back; of those that come back to where they began, the median displacement moves the box and the
median change of their distances scales it.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_POINTS = 6  # in each row and column of a box
_LUCAS_KANADE: dict[str, Any] = {
    "winSize": (9, 9),
    "maxLevel": 3,
    "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03),
}
_RETURN_PIXELS = 1.0
_MIN_POINTS = 6
_PAIRS = tuple(side[::4] for side in np.triu_indices(_POINTS * _POINTS, 1))  # a quarter gives the same scale


def flowed(
    before: NDArray[np.uint8], now: NDArray[np.uint8], boxes: NDArray[np.float64], guess: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The boxes (n, 4) on another frame, x0 y0 x1 y1 in 0..1, and which of them (n,) could be followed.

    before, now: (h, w) uint8. guess: (n, 4), about where the boxes are now. A box that could not be followed is there.
    """
    if not len(boxes):
        return guess, np.zeros(0, bool)
    size = np.array([now.shape[1], now.shape[0]], np.float64)
    points = _grid(boxes) * size
    flat = points.reshape(-1, 1, 2).astype(np.float32)
    offset = (_grid(guess) * size).reshape(-1, 1, 2).astype(np.float32) - flat
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, now, flat, flat + offset, **_LUCAS_KANADE)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(now, before, there, there - offset, **_LUCAS_KANADE)
    ends = there.reshape(points.shape).astype(np.float64)
    error = np.hypot(*(back - flat).reshape(-1, 2).T).reshape(points.shape[:2])
    good = (found & returned).astype(bool).reshape(points.shape[:2]) & (error < _RETURN_PIXELS)
    good &= ((points >= 0) & (points < size)).all(-1)
    good &= error <= _medians(error, good)[:, None]
    followed = good.sum(1) >= _MIN_POINTS
    shift = np.stack([_medians(ends[..., axis] - points[..., axis], good) for axis in (0, 1)], 1) / size
    one, other = _PAIRS
    ratio = _distances(ends, one, other) / np.maximum(_distances(points, one, other), 1e-9)
    scale = np.clip(_medians(ratio, good[:, one] & good[:, other]), 0.8, 1.25)[:, None]
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2 + shift, (boxes[:, 2:] - boxes[:, :2]) / 2 * scale
    moved = np.where(followed[:, None], np.concatenate([centre - half, centre + half], 1), guess)
    return moved, followed


def _grid(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points in each box, (n, points, 2)."""
    steps = (np.arange(_POINTS) + 0.5) / _POINTS
    inner = np.stack(np.meshgrid(steps, steps), -1).reshape(1, -1, 2)
    return boxes[:, None, :2] + inner * (boxes[:, None, 2:] - boxes[:, None, :2])


def _distances(points: NDArray[np.float64], one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.float64]:
    between = points[:, one] - points[:, other]
    return np.hypot(between[..., 0], between[..., 1])


def _medians(values: NDArray[np.float64], of: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of those values (n, points) in each row that count, (n,); some number where none does."""
    ordered = np.sort(np.where(of, values, np.finfo(np.float64).max), axis=1)
    middle = np.maximum(of.sum(1) - 1, 0) // 2
    return ordered[np.arange(len(values)), middle]

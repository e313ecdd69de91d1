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
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03),
}
_RETURN_PIXELS = 1.0
_MIN_POINTS = 6


def flowed(
    before: NDArray[np.uint8], now: NDArray[np.uint8], boxes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The boxes (n, 4) on the next frame, x0 y0 x1 y1 in 0..1, and which of them (n,) could be followed.

    before, now: (h, w) uint8. A box that could not be followed stays where it was.
    """
    if not len(boxes):
        return boxes, np.zeros(0, bool)
    size = np.array([now.shape[1], now.shape[0]], np.float64)
    points = _grid(boxes) * size
    flat = points.reshape(-1, 1, 2).astype(np.float32)
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, now, flat, None, **_LUCAS_KANADE)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(now, before, there, None, **_LUCAS_KANADE)
    error = np.linalg.norm(back - flat, axis=-1).reshape(points.shape[:2])
    inside = ((points >= 0) & (points < size)).all(-1)
    good = inside & (found & returned).astype(bool).reshape(points.shape[:2]) & (error < _RETURN_PIXELS)
    good &= error <= np.nanmedian(np.where(good, error, np.nan), axis=1, keepdims=True) if good.any() else False
    ends = there.reshape(points.shape).astype(np.float64)
    moved = boxes.copy()
    followed = good.sum(1) >= _MIN_POINTS
    for i in np.flatnonzero(followed):
        moved[i] = _moved(boxes[i], points[i][good[i]] / size, ends[i][good[i]] / size)
    return moved, followed


def _grid(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points in each box, (n, points, 2)."""
    steps = (np.arange(_POINTS) + 0.5) / _POINTS
    inner = np.stack(np.meshgrid(steps, steps), -1).reshape(1, -1, 2)
    return boxes[:, None, :2] + inner * (boxes[:, None, 2:] - boxes[:, None, :2])


def _moved(box: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    one, other = np.triu_indices(len(start), 1)
    before = np.linalg.norm(start[one] - start[other], axis=1)
    scale = float(np.median(np.linalg.norm(end[one] - end[other], axis=1) / np.maximum(before, 1e-9)))
    centre = (box[:2] + box[2:]) / 2 + np.median(end - start, axis=0)
    half = (box[2:] - box[:2]) / 2 * min(max(scale, 0.8), 1.25)
    return np.concatenate([centre - half, centre + half])

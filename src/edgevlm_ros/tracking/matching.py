# SPDX-License-Identifier: Apache-2.0
"""Boxes carried from the keyframe to now in one step, by what they look like: their patches, or their pixels."""

import cv2
import numpy as np
from numpy.typing import NDArray

_SHARPNESS = 7.0  # of the weights around the best match, on cosines


def matched(
    then: NDArray[np.float16], now: NDArray[np.float16], boxes: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The boxes (n, 4) where their patches are found now, x0 y0 x1 y1 in 0..1, and the cosine there (n,).

    then, now: (rows, cols, D), rows of unit length, of the same shape. radius: how far to look, in 0..1 of the frame.
    """
    moved, cosines = boxes.copy(), np.zeros(len(boxes))
    rows, cols, _ = now.shape
    then, now = then.astype(np.float32), now.astype(np.float32)
    down, across = max(1, round(radius * rows)), max(1, round(radius * cols))
    padded = np.pad(now, ((down, down), (across, across), (0, 0)))
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        left, right = _span(x0, x1, cols)
        top, bottom = _span(y0, y1, rows)
        patch = then[top:bottom, left:right]
        around = padded[top : bottom + 2 * down, left : right + 2 * across]
        windows = np.lib.stride_tricks.sliding_window_view(around, patch.shape[:2], axis=(0, 1))
        score = np.einsum("yxdij,ijd->yx", windows, patch) / (patch.shape[0] * patch.shape[1])
        dy, dx = _centroid(score)
        shift = np.array([(dx - across) / cols, (dy - down) / rows])
        moved[i] += np.tile(shift, 2)
        cosines[i] = score.max()
    return moved, cosines


def best_match(
    then: NDArray[np.uint8], origin: NDArray[np.float64], now: NDArray[np.uint8], box: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.float64], float]:
    """Where what was at origin (4,) is found now, in the size of the box (4,), and the correlation there in -1..1.

    x0 y0 x1 y1 in 0..1. Looks around the box, by half of it and reach, in 0..1 of the width. 0 if nothing can be found.
    """
    height, width = now.shape
    size = np.array([width, height] * 2)
    x0, y0, x1, y1 = np.clip(np.round(origin * size), 0, size).astype(int)
    sides = (box[2:] - box[:2]) * size[:2]
    columns, rows = np.round(sides.clip(0, size[:2])).astype(int)
    far = sides / 2 + reach * width
    left, top = np.clip(box[:2] * size[:2] - far, 0, size[:2]).astype(int)
    right, bottom = np.clip(box[2:] * size[:2] + far, 0, size[:2]).astype(int)
    if min(x1 - x0, y1 - y0, columns, rows) < 2 or right - left < columns or bottom - top < rows:
        return box, 0.0
    template = cv2.resize(then[y0:y1, x0:x1], (int(columns), int(rows)), interpolation=cv2.INTER_AREA)
    scores = cv2.matchTemplate(now[top:bottom, left:right], template, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(scores)
    corner = np.array([left + x, top + y])
    return np.concatenate([corner, corner + sides]) / size, best if np.isfinite(best) else 0.0


def _span(start: float, stop: float, cells: int) -> tuple[int, int]:
    """The cells that a span in 0..1 covers by at least a half; at least the one of its middle."""
    first, last = round(start * cells), round(stop * cells)
    if last <= first:
        first = int((start + stop) / 2 * cells)
        last = first + 1
    first = min(max(first, 0), cells - 1)
    return first, min(max(last, first + 1), cells)


def _centroid(score: NDArray[np.float32]) -> tuple[float, float]:
    """Row and column of the best score, between the cells by the weights of its neighbours."""
    row, col = divmod(int(score.argmax()), score.shape[1])
    rows = np.arange(max(row - 1, 0), min(row + 2, score.shape[0]))
    cols = np.arange(max(col - 1, 0), min(col + 2, score.shape[1]))
    weights = np.exp(_SHARPNESS * (score[np.ix_(rows, cols)] - score[row, col]))
    return float(rows @ weights.sum(1) / weights.sum()), float(cols @ weights.sum(0) / weights.sum())

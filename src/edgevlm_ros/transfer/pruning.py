# SPDX-License-Identifier: Apache-2.0
"""Which of a frame's visual tokens the decoder is shown.

Those on the regions, and a thin even sample of the rest, so that the model still knows the scene that they lie in.
"""

import numpy as np
from numpy.typing import NDArray


def kept(values: NDArray[np.float32], keep: float, background: float = 0.25) -> NDArray[np.intp]:
    """Indices of the visual tokens that stay, ascending.

    values: (n,) the focus on each token. keep: share of them that stays, at least one token; at 1, or without any
    focus, all do. background: share of those that is spread evenly over what the focus leaves out.
    """
    count = len(values)
    if keep >= 1.0 or not (values > 0).any():
        return np.arange(count)
    total = max(1, round(keep * count))
    spread = min(total - 1, round(background * total))
    order = np.argsort(-values, kind="stable")
    rest = np.sort(order[total - spread :])
    at = (np.arange(spread) + 0.5) * len(rest) / max(spread, 1)
    return np.sort(np.concatenate([order[: total - spread], rest[at.astype(np.intp)]]))


def sampled(grid: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of a (rows, cols) map under each box: (n,) float32; exact where boxes are cells of the map.

    boxes: (n, 4), x0 y0 x1 y1 in 0..1 of the map's width and height.
    """
    rows, cols = grid.shape
    across = _shares(boxes[:, 0], boxes[:, 2], cols)
    down = _shares(boxes[:, 1], boxes[:, 3], rows)
    return np.einsum("nr,rc,nc->n", down, grid, across).astype(np.float32)


def _shares(start: NDArray[np.float32], stop: NDArray[np.float32], cells: int) -> NDArray[np.float64]:
    """How the span from start to stop (n,) in 0..1 is divided among cells: (n, cells), rows sum to 1."""
    bounds = np.stack([start, stop]).astype(np.float64) * cells
    near = np.round(bounds)
    start, stop = np.where(np.abs(bounds - near) < 1e-4, near, bounds)[..., None]  # thirds are not exact in float32
    edges = np.arange(cells)
    overlap = np.clip(np.minimum(stop, edges + 1) - np.maximum(start, edges), 0.0, None)
    return overlap / np.maximum(overlap.sum(1, keepdims=True), 1e-12)

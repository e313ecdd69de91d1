# SPDX-License-Identifier: Apache-2.0
"""The last views that the vision tower has seen, so that none is seen twice: a tracker asks for a frame's features
before the frame is answered.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.edge.architectures.architecture import Architecture, Pixels, Sight
from edgevlm_ros.transfer.types import Image

_REMEMBERED = 4


@dataclass(slots=True, eq=False)
class SeenView:
    """prepare, vision: seconds that it took. told: whether these have been told in a completion's timings."""

    image: Image
    share: float
    sight: Sight
    prepare: float
    vision: float
    told: bool = False

    def on_grid(self, rows: int, cols: int) -> NDArray[np.float32]:
        """(rows, cols, D) features, nothing where no visual token sees."""
        tokens = _finest(self.sight.pixels, rows, cols)
        features: NDArray[np.float32] = self.sight.features.float().cpu().numpy()[tokens]
        features[tokens < 0] = 0.0
        return features.reshape(rows, cols, -1)


class SeenViews:
    """Known by the image object itself and the share of its pixels."""

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self._views: deque[SeenView] = deque(maxlen=_REMEMBERED)

    def __len__(self) -> int:
        return len(self._views)

    def see(self, image: Image, share: float) -> SeenView:
        """share: see Architecture.pixels."""
        for view in self._views:
            if view.image is image and view.share == share:
                return view
        start = time.monotonic()
        pixels = self._architecture.pixels(image, share)
        prepared = time.monotonic()
        sight = self._architecture.see(pixels)
        self._architecture.wait()
        view = SeenView(image, share, sight, prepared - start, time.monotonic() - prepared)
        self._views.append(view)
        return view

    def clear(self) -> None:
        self._views.clear()


def _finest(pixels: Pixels, rows: int, cols: int) -> NDArray[np.intp]:
    """For each cell of a grid over the view the visual token that sees its centre most closely; -1 if none does."""
    if len(pixels.boxes) == rows * cols:
        return np.arange(rows * cols)
    x = ((np.arange(cols) + 0.5) / cols)[None, :, None]
    y = ((np.arange(rows) + 0.5) / rows)[:, None, None]
    x0, y0, x1, y1 = pixels.boxes.T
    outside = (x < x0) | (x > x1) | (y < y0) | (y > y1)
    return np.where(outside.all(-1), -1, np.argmin((x1 - x0) * (y1 - y0) + 10.0 * outside, axis=-1)).ravel()

# SPDX-License-Identifier: Apache-2.0
"""Pictures full of signs, to learn their reading from: frames with many placards, badges and plates pasted in.

A frame holds one or two signs in a hundred cells, so that a vision tower sees few of them an hour on a CPU. In a mosaic
there are ten times as many, at all places and sizes. No question is asked about it: only the vision tower learns, from
the auxiliary loss on its tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from edgevlm_ros.world import questions as q
from edgevlm_ros.world.dataset import HEIGHT, WIDTH, Split
from edgevlm_ros.world.render import CLASSES
from edgevlm_ros.world.samples import CELL_LABELS, Shot, cells

MARGIN = 0.3  # of a sign's size, pasted with it on each side: what it is fixed to


@dataclass(frozen=True, slots=True)
class Sign:
    """frame: index in the split. box: x0 y0 x1 y1, pixels of the frame."""

    frame: int
    label: str
    parent: str
    box: tuple[float, float, float, float]


def find_signs(split: Split) -> list[Sign]:
    signs = []
    for index, seen in enumerate(split.seen):
        for fact, part in q.SIGN_PARTS.items():
            if fact not in seen.facts or fact in seen.ambiguous:
                continue
            mask = split.classes[index] == CLASSES.index(part)
            if mask.any():
                x0, y0, x1, y1 = q.mask_box(mask)
                parent = q.SUBJECT_OF[fact].replace("second", "machine")
                box = (x0 * WIDTH, y0 * HEIGHT, x1 * WIDTH, y1 * HEIGHT)
                signs.append(Sign(index, seen.facts[fact], parent, box))
    return signs


def mosaic(
    split: Split,
    signs: list[Sign],
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    grid: tuple[int, int],
    pasted: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 of size (width, height), and its cells' truth as samples.cells gives it."""
    width, height = size
    index = int(rng.integers(len(split)))
    window = (0.0, 0.0, float(WIDTH), float(HEIGHT))
    base = Shot(Image.fromarray(split.frames[index]), window, split.classes[index], split.seen[index])
    picture = base.frame.resize(size, Image.Resampling.BICUBIC)
    truth = cells(base, window, grid)
    taken = np.zeros((height, width), bool)
    for _ in range(pasted):
        sign = signs[int(rng.integers(len(signs)))]
        if sign.parent == "machine" and rng.random() < 0.5:  # letters are the easier half
            sign = signs[int(rng.integers(len(signs)))]
        x0, y0, x1, y1 = sign.box
        zoom = float(np.exp(rng.uniform(np.log(0.5), np.log(1.5))))
        w, h = (x1 - x0) * width / WIDTH * zoom, (y1 - y0) * height / HEIGHT * zoom
        if h < 0.055 * height or h > 0.4 * height or w > 0.4 * width:
            continue
        mx, my = MARGIN * (x1 - x0), MARGIN * (y1 - y0)
        outer = (max(0.0, x0 - mx), max(0.0, y0 - my), min(float(WIDTH), x1 + mx), min(float(HEIGHT), y1 + my))
        scale_x, scale_y = w / (x1 - x0), h / (y1 - y0)
        full = (max(2, round((outer[2] - outer[0]) * scale_x)), max(2, round((outer[3] - outer[1]) * scale_y)))
        if full[0] >= width or full[1] >= height:
            continue
        left, top = int(rng.integers(width - full[0])), int(rng.integers(height - full[1]))
        if taken[top : top + full[1], left : left + full[0]].any():
            continue
        taken[top : top + full[1], left : left + full[0]] = True
        cut = Image.fromarray(split.frames[sign.frame]).resize(full, Image.Resampling.BICUBIC, box=outer)
        picture.paste(cut, (left, top))
        whole = _cover((left, top, left + full[0], top + full[1]), size, grid)
        inner_left, inner_top = left + (x0 - outer[0]) * scale_x, top + (y0 - outer[1]) * scale_y
        inner = _cover((inner_left, inner_top, inner_left + w, inner_top + h), size, grid)
        truth[whole > 0.4] = 0.0
        truth[whole > 0.15, CELL_LABELS.index(sign.parent)] = 1.0
        truth[inner > 0.1, CELL_LABELS.index(sign.label)] = 1.0
    return np.asarray(picture), truth


def _cover(box: tuple[float, float, float, float], size: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """(rows * columns,) share of each cell that a pixel box covers."""
    rows, columns = grid
    y, x = np.arange(rows) * size[1] / rows, np.arange(columns) * size[0] / columns
    high = np.clip(np.minimum(y + size[1] / rows, box[3]) - np.maximum(y, box[1]), 0, None) * rows / size[1]
    wide = np.clip(np.minimum(x + size[0] / columns, box[2]) - np.maximum(x, box[0]), 0, None) * columns / size[0]
    return np.outer(high, wide).ravel()

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from edgevlm_ros.world.dataset import HEIGHT, WIDTH, Split
from edgevlm_ros.world.mosaic import find_signs, mosaic
from edgevlm_ros.world.questions import Observation
from edgevlm_ros.world.render import CLASSES
from edgevlm_ros.world.samples import CELL_LABELS


def one_cart() -> Split:
    """A black frame with one white placard of 40x40 pixels."""
    frames = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    frames[0, 100:140, 60:100] = 255
    classes = np.zeros((1, HEIGHT // 2, WIDTH // 2), np.uint8)
    classes[0, 50:70, 30:50] = CLASSES.index("placard")
    box = (60 / 320, 100 / 240, 100 / 320, 140 / 240)
    return Split(frames, classes, [Observation({"cart": box}, {"load": "fuel"})])


def test_signs_are_found_where_they_are() -> None:
    (sign,) = find_signs(one_cart())
    assert (sign.frame, sign.label, sign.parent) == (0, "fuel", "cart")
    assert sign.box == (60.0, 100.0, 100.0, 140.0)


def test_a_mosaics_cells_name_the_signs_that_are_seen_in_them() -> None:
    split = one_cart()
    picture, truth = mosaic(
        split, find_signs(split), np.random.default_rng(0), size=(192, 192), grid=(12, 12), pasted=12
    )
    bright = picture.mean(axis=2).reshape(12, 16, 12, 16).mean(axis=(1, 3)).ravel()
    named = truth[:, CELL_LABELS.index("fuel")] > 0
    assert named.sum() > 10
    assert (bright[named] > 15).all()
    assert (bright[~named] < 60).all()
    assert truth[:, CELL_LABELS.index("acid")].sum() == 0

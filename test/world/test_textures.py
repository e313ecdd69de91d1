# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from edgevlm_ros.world import textures
from edgevlm_ros.world.scene import LOADS, NAMES, ROLES

SIGNS = [textures.pictogram(load) for load in LOADS], [textures.role_badge(role) for role in ROLES]


def seen_by(image: Image.Image, width: int, height: int) -> np.ndarray:
    """(height, width) 0..1: what so many pixels make of a sign."""
    return np.asarray(image.resize((width, height), Image.Resampling.BOX)).astype(float) / 255


@pytest.mark.parametrize("signs", SIGNS, ids=("loads", "roles"))
def test_pictograms_have_equal_ink(signs: list[Image.Image]) -> None:
    """The average brightness of a sign tells nothing about the load or the role."""
    ink = [np.asarray(image).mean() / 255 for image in signs]
    assert max(ink) - min(ink) < 0.04


@pytest.mark.parametrize("signs", SIGNS, ids=("loads", "roles"))
def test_fine_eyes_tell_pictograms_apart_and_coarse_ones_hardly_do(signs: list[Image.Image]) -> None:
    for one, other in itertools.combinations(signs, 2):
        fine = np.sqrt(np.mean((seen_by(one, 12, 14) - seen_by(other, 12, 14)) ** 2))
        coarse = np.sqrt(np.mean((seen_by(one, 5, 5) - seen_by(other, 5, 5)) ** 2))
        assert fine > 0.3
        assert coarse < 0.6 * fine


def test_every_sign_is_another_picture() -> None:
    images = [*SIGNS[0], *SIGNS[1], *(textures.letter(name) for name in NAMES)]
    assert len({textures.png(image) for image in images}) == len(images)


@pytest.mark.parametrize(("made", "count"), [(textures.floor, textures.FLOORS), (textures.wall, textures.WALLS)])
def test_every_floor_and_wall_is_another_picture(made: object, count: int) -> None:
    assert callable(made)
    assert len({textures.png(made(index)) for index in range(count)}) == count


def test_an_unknown_sign_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="driver, fitter, guest and medic"):
        textures.role_badge("pilot")
    with pytest.raises(ValueError, match="acid, fuel, gas and water"):
        textures.pictogram("milk")

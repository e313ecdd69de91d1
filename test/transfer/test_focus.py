# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from edgevlm_ros.transfer.focus import FOCUS_MODES, Focus, focus_map, parse_modes
from edgevlm_ros.transfer.types import Region

SECOND = 1_000_000_000
BOX = Region("cart", 1.0, 320, 240, 480, 360)


def test_modes_are_joined_by_plus_and_none_is_none_of_them() -> None:
    assert parse_modes("none") == frozenset()
    assert parse_modes("crop") == {"crop"}
    assert parse_modes("attention + crop") == {"attention", "crop"}
    assert parse_modes("+".join(FOCUS_MODES)) == set(FOCUS_MODES)


@pytest.mark.parametrize("text", ["", "zoom", "crop+", "none+crop", "crop,text", "Crop"])
def test_any_other_mode_is_an_error_that_names_those_there_are(text: str) -> None:
    with pytest.raises(ValueError, match="attention, prune, crop, overlay, text"):
        Focus(mode=text)


def test_an_unknown_way_of_carrying_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="flow, features, none"):
        Focus(carry="magic")


def test_only_crop_makes_a_second_view() -> None:
    focus = focus_map([BOX], SECOND, 640, 480, (5, 6), Focus(mode="attention+prune"))
    assert focus is not None
    assert focus.grid.shape == (5, 6)
    assert focus.grid.max() > 0.5
    assert focus.crop is None
    assert focus.stamp == SECOND
    cropped = focus_map([BOX], SECOND, 640, 480, (5, 6), Focus(mode="text+crop"))
    assert cropped is not None
    assert cropped.crop is not None


def test_without_regions_or_mode_there_is_no_focus() -> None:
    assert focus_map([], SECOND, 640, 480, (5, 6), Focus()) is None
    assert focus_map([BOX], SECOND, 640, 480, (5, 6), Focus(mode="none")) is None

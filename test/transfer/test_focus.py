# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from edgevlm_ros.transfer.focus import Focus, carried, focus_map
from edgevlm_ros.transfer.types import CloudContext, Region, Status

SECOND = 1_000_000_000
BOX = Region("cart", 1.0, 320, 240, 480, 360)
CONTEXT = CloudContext(SECOND, 1, 7, Status.OK, "acid, ahead", (BOX,), 640, 480)


def test_confidence_halves_with_the_half_life_until_the_region_is_forgotten() -> None:
    rule = Focus(half_life=2.0, min_confidence=0.3)
    assert carried(CONTEXT, SECOND, 640, 480, rule)[0].score == 1.0
    assert carried(CONTEXT, 3 * SECOND, 640, 480, rule)[0].score == pytest.approx(0.5)
    assert carried(CONTEXT, 5 * SECOND, 640, 480, rule) == ()


def test_regions_follow_a_change_of_the_image_size() -> None:
    (region,) = carried(CONTEXT, SECOND, 320, 240, Focus())
    assert (region.x0, region.y0, region.x1, region.y1) == (160, 120, 240, 180)


def test_a_context_of_unknown_size_or_of_the_future_has_no_regions_here() -> None:
    unknown = CloudContext(SECOND, 1, 7, Status.OK, "acid", (BOX,), 0, 0)
    assert carried(unknown, SECOND, 640, 480, Focus()) == ()
    assert carried(CONTEXT, 0, 640, 480, Focus()) == ()


def test_attention_makes_a_map_and_crop_a_second_view() -> None:
    focus = focus_map([BOX], SECOND, 640, 480, (5, 6), Focus(mode="attention"))
    assert focus is not None
    assert focus.grid.shape == (5, 6)
    assert focus.grid.max() > 0.5
    assert focus.crop is None
    cropped = focus_map([BOX], SECOND, 640, 480, (5, 6), Focus(mode="crop"))
    assert cropped is not None
    assert cropped.crop is not None


def test_without_regions_or_mode_there_is_no_focus() -> None:
    assert focus_map([], SECOND, 640, 480, (5, 6), Focus()) is None
    assert focus_map([BOX], SECOND, 640, 480, (5, 6), Focus(mode="none")) is None

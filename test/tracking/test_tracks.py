# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevlm_ros.tracking.glimpse import Glimpse, glimpse
from edgevlm_ros.tracking.tracks import Tracks, advance, begin, regions, with_keyframe
from edgevlm_ros.transfer.focus import CARRY_MODES, Focus
from edgevlm_ros.transfer.types import CloudContext, Image, Region, Status
from support.moving_scene import HEIGHT, WIDTH, scene

SECOND = 1_000_000_000
STEP = SECOND // 5
RULE = Focus(half_life=4.0, min_confidence=0.2)
START, BOX = scene(200, 150)
EMPTY, _ = scene(-500, 0)


def context(*found: Region, width: int = WIDTH, height: int = HEIGHT, stamp: int = 0) -> CloudContext:
    return CloudContext(stamp, 1, 7, Status.OK, "acid, ahead", found, width, height)


def carried(images: Iterable[Image], method: str, box: Region = BOX) -> Tracks:
    """The region of the first frame on the last one, five frames a second."""
    seen = [glimpse(i * STEP, image) for i, image in enumerate(images)]
    tracks = begin(context(box), seen[0])
    for before, now in pairwise(seen):
        tracks = advance(tracks, before, now, method)
    return tracks


def overlap(tracks: Tracks, truth: Region) -> float:
    """IoU."""
    x0, y0, x1, y1 = tracks.boxes[0] * (WIDTH, HEIGHT, WIDTH, HEIGHT)
    both = max(min(x1, truth.x1) - max(x0, truth.x0), 0) * max(min(y1, truth.y1) - max(y0, truth.y0), 0)
    return both / ((x1 - x0) * (y1 - y0) + (truth.x1 - truth.x0) * (truth.y1 - truth.y0) - both)


@pytest.mark.parametrize("method", ["flow", "features"])
def test_a_region_stays_on_what_it_was_on(method: str) -> None:
    path = [(200 + 14 * i, 150 + 3 * i) for i in range(12)]
    tracks = carried([scene(x, y)[0] for x, y in path], method)
    assert overlap(tracks, scene(*path[-1])[1]) > 0.7
    assert tracks.quality[0] > 0.8
    assert tracks.stamp == 11 * STEP


def test_without_carrying_it_stays_where_it_was() -> None:
    tracks = carried([START, scene(340, 150)[0]], "none")
    assert (tracks.boxes == tracks.origins).all()
    assert tracks.quality.tolist() == [1.0]
    assert tracks.stamp == STEP


@pytest.mark.parametrize("method", ["flow", "features"])
def test_a_region_whose_thing_is_gone_is_no_longer_trusted(method: str) -> None:
    tracks = carried([START, START, EMPTY, EMPTY], method)
    assert tracks.quality[0] < 0.3
    assert regions(tracks, tracks.stamp, WIDTH, HEIGHT, RULE) == ()


def test_a_region_follows_its_thing_out_of_the_view_and_is_forgotten() -> None:
    path = [(400 + 20 * i, 150) for i in range(14)]
    frames = [scene(x, y) for x, y in path]
    tracks = carried([image for image, _ in frames[:9]], "flow", frames[0][1])
    (halfway,) = regions(tracks, tracks.stamp, WIDTH, HEIGHT, RULE)
    assert halfway.x1 == WIDTH
    assert halfway.score < 0.8
    tracks = carried([image for image, _ in frames], "flow", frames[0][1])
    assert regions(tracks, tracks.stamp, WIDTH, HEIGHT, RULE) == ()


def test_what_was_lost_is_found_again() -> None:
    back, truth = scene(280, 150)
    tracks = carried([START, EMPTY, EMPTY, back, back], "flow")
    assert overlap(tracks, truth) > 0.6
    assert tracks.quality[0] > 0.8


def test_a_jump_that_flow_cannot_see_is_seen_in_the_patches() -> None:
    back, truth = scene(360, 150)
    seen = [glimpse(0, START), glimpse(2 * SECOND, back)]
    tracks = advance(begin(context(BOX), seen[0]), seen[0], seen[1], "flow")
    assert overlap(tracks, truth) > 0.6
    assert tracks.quality[0] > 0.8


def test_a_thing_that_another_one_crosses_is_not_left_for_it() -> None:
    frames = []
    for i in range(16):
        image, truth = scene(100 + 16 * i, 150)
        other, where = scene(520 - 28 * i, 165, 120, thing=7)
        x0, x1 = max(round(where.x0), 0), min(round(where.x1), WIDTH)
        image[165:285, x0:x1] = other[165:285, x0:x1]
        frames.append((image, truth))
    tracks = carried([image for image, _ in frames], "flow", frames[0][1])
    assert overlap(tracks, frames[-1][1]) > 0.6


def test_what_is_lost_is_not_looked_for_far_away() -> None:
    tracks = carried([START, EMPTY, scene(480, 150)[0]], "flow")
    assert tracks.quality[0] < 0.3


def test_a_lost_region_moves_with_the_camera() -> None:
    views = [np.ascontiguousarray(np.roll(START, -20 * i, 1)) for i in range(10)]
    hidden = [view.copy() for view in views]
    for i, view in enumerate(hidden[3:8], 3):
        view[150:270, 200 - 20 * i : 320 - 20 * i] = 60
    tracks = carried(hidden, "flow")
    assert overlap(tracks, Region("thing", 1.0, 20, 150, 140, 270)) > 0.6
    assert tracks.quality[0] > 0.5


def test_confidence_halves_with_the_half_life_until_the_region_is_forgotten() -> None:
    tracks = begin(context(BOX, stamp=SECOND), glimpse(SECOND, START))
    rule = Focus(half_life=2.0, min_confidence=0.3)
    assert regions(tracks, SECOND, WIDTH, HEIGHT, rule)[0].score == 1.0
    assert regions(tracks, 3 * SECOND, WIDTH, HEIGHT, rule)[0].score == pytest.approx(0.5)
    assert regions(tracks, 5 * SECOND, WIDTH, HEIGHT, rule) == ()


def test_regions_follow_a_change_of_the_image_size() -> None:
    (region,) = regions(begin(context(BOX), glimpse(0, START)), 0, 320, 240, RULE)
    assert (region.x0, region.y0, region.x1, region.y1) == pytest.approx((100, 75, 160, 135))
    assert region.label == "thing"


def test_a_context_of_unknown_size_or_of_the_future_has_no_regions_here() -> None:
    assert regions(begin(context(BOX, width=0, height=0), glimpse(0, START)), 0, WIDTH, HEIGHT, RULE) == ()
    assert regions(begin(context(BOX, stamp=SECOND), glimpse(SECOND, START)), 0, WIDTH, HEIGHT, RULE) == ()


@pytest.mark.parametrize("method", CARRY_MODES)
def test_without_a_keyframe_nothing_is_trusted_until_it_is_there(method: str) -> None:
    keyframe, now = glimpse(0, START), glimpse(STEP, START)
    tracks = advance(begin(context(BOX), None), keyframe, now, method)
    assert tracks.quality.tolist() == [0.0]
    assert regions(tracks, STEP, WIDTH, HEIGHT, RULE) == ()
    tracks = advance(with_keyframe(tracks, keyframe), keyframe, now, method)
    assert tracks.quality[0] > 0.9


@pytest.mark.parametrize("method", ["flow", "features"])
@pytest.mark.parametrize("previous", [None, glimpse(0, START[:240])])
def test_without_the_frame_before_a_box_is_compared_all_the_same(previous: Glimpse | None, method: str) -> None:
    keyframe = glimpse(0, START)
    there = advance(begin(context(BOX), keyframe), previous, glimpse(STEP, START), method)
    gone = advance(begin(context(BOX), keyframe), previous, glimpse(STEP, EMPTY), method)
    assert there.quality[0] > 0.8
    assert gone.quality[0] < 0.3


@pytest.mark.parametrize("method", ["flow", "features"])
def test_on_a_frame_of_another_shape_nothing_is_trusted_until_the_keyframes_shape_is_back(method: str) -> None:
    turned = np.ascontiguousarray(np.rot90(START))
    tracks = carried([START, START, turned, START[:1, :1], turned], method)
    assert tracks.quality.tolist() == [0.0]
    assert regions(tracks, tracks.stamp, WIDTH, HEIGHT, RULE) == ()
    tracks = carried([START, turned, START, START], method)
    assert overlap(tracks, BOX) > 0.9
    assert tracks.quality[0] > 0.8


@pytest.mark.parametrize("method", ["flow", "features"])
def test_a_frame_of_the_same_shape_but_another_size_is_the_same_view(method: str) -> None:
    small = cv2.resize(START, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    tracks = carried([START, small, START, small], method)
    assert overlap(tracks, BOX) > 0.8
    assert tracks.quality[0] > 0.8


def test_a_frame_that_is_not_newer_changes_nothing() -> None:
    keyframe = glimpse(STEP, START)
    tracks = begin(context(BOX, stamp=STEP), keyframe)
    assert advance(tracks, keyframe, glimpse(STEP, START), "flow") is tracks
    assert advance(tracks, keyframe, glimpse(0, START), "flow") is tracks


def still(stamp: int) -> Glimpse:
    return glimpse(stamp, START)


corners = st.floats(0, 480)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.builds(Region, st.just("r"), st.floats(0, 1), corners, corners, corners, corners), max_size=6),
    st.sampled_from(CARRY_MODES),
    st.integers(1, 20),
)
def test_any_regions_stay_in_the_frame_and_are_trusted_no_more_than_before(
    found: list[Region], method: str, steps: int
) -> None:
    tracks = begin(context(*found), still(0))
    tracks = advance(tracks, still(0), still(steps * STEP), method)
    assert ((tracks.quality >= 0) & (tracks.quality <= 1)).all()
    here = regions(tracks, tracks.stamp, WIDTH, HEIGHT, RULE)
    assert len(here) <= len(found)
    for region in here:
        assert 0 <= region.x0 < region.x1 <= WIDTH
        assert 0 <= region.y0 < region.y1 <= HEIGHT
        assert RULE.min_confidence <= region.score <= max(r.score for r in found)

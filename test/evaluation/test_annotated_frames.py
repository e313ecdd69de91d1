# SPDX-License-Identifier: Apache-2.0
"""Frames of the bundled bag with what it knows about them."""

from itertools import pairwise

from edgevlm_ros.assets import bag_path
from edgevlm_ros.evaluation.annotated_frames import annotated_frames


def test_the_first_frames_follow_each_other() -> None:
    frames = annotated_frames(bag_path("demo"), 4)
    stamps = [one.frame.stamp for one in frames]
    assert {after - before for before, after in pairwise(stamps)} == {200_000_000}
    assert all(one.question is not None and one.answer for one in frames)


def test_spread_frames_have_a_region_and_cover_the_bag() -> None:
    frames = annotated_frames(bag_path("demo"), 5, spread=True)
    assert len(frames) == 5
    assert all(one.regions for one in frames)
    assert frames[-1].frame.stamp - frames[0].frame.stamp > 30e9
    box = frames[0].regions[0]
    assert 0 <= box.x0 < box.x1 <= frames[0].frame.width

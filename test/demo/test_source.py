# SPDX-License-Identifier: Apache-2.0
"""What a demo plays of a bag."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.bag_types import BagError
from edgevlm_ros.demo.source import open_source
from support.small_bag import EPOCH, SmallBag


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    with SmallBag(tmp_path / "bag") as made:
        made.question(0.0)
        for at in (0.0, 0.5, 1.0):
            made.jpeg(at)
            made.truth(at, "left")
    return tmp_path / "bag"


def test_the_camera_is_played_with_the_question_and_the_truth(bag: Path) -> None:
    source = open_source(bag)
    assert source.topics[0] == source.images.name == "/image/compressed"
    assert set(source.topics[1:]) == {"/question", "/ground_truth"}
    assert (source.name, source.start, source.seconds) == ("bag", EPOCH, 1.0)
    assert source.has_questions
    assert source.has_truth


def test_a_bag_that_is_asked_something_else_keeps_its_questions_to_itself(bag: Path) -> None:
    assert "/question" not in open_source(bag, question="Is the door open?").topics


def test_a_bag_without_the_camera_that_is_named_says_so(bag: Path) -> None:
    with pytest.raises(BagError, match="no images on /rear"):
        open_source(bag, image_topic="/rear")

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgevlm_ros.world import questions as q
from edgevlm_ros.world import textures
from edgevlm_ros.world.render import Renderer, RenderingUnavailable
from edgevlm_ros.world.scene import LOADS, Camera, Cart, Machine, Person, Scene, random_scene


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    try:
        made = Renderer(160, 120)
    except RenderingUnavailable as reason:
        pytest.skip(str(reason))
    with made:
        yield made


def test_pictograms_have_equal_ink() -> None:
    """The average brightness of a placard tells nothing about the load."""
    ink = [np.asarray(textures.pictogram(load)).mean() / 255 for load in LOADS]
    assert max(ink) - min(ink) < 0.04


def test_a_scene_looks_the_same_whatever_was_drawn_before(renderer: Renderer) -> None:
    first = renderer.render(random_scene(1))
    renderer.render(random_scene(2))
    again = renderer.render(random_scene(1))
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.classes, again.classes)


def test_the_picture_shows_what_the_scene_says(renderer: Renderer) -> None:
    scene = Scene(
        Camera(2, 0, pitch=0.05),
        person=Person(5.0, 1.7),
        cart=Cart(5.5, 0, yaw=np.pi, load="fuel"),
        machine=Machine(5.0, -2.0, yaw=np.pi, name="D", state="idle"),
    )
    view = renderer.render(scene)
    assert view.rgb.shape == (120, 160, 3)
    assert view.rgb.dtype == np.uint8
    seen = q.observe(scene, view.classes)
    assert q.answer(q.WHERE_PERSON, seen) == "left"
    assert q.answer(q.CART, seen) == "fuel, ahead"
    assert q.answer(q.MACHINE, seen) == "D, idle"
    assert seen.machine is not None
    assert seen.machine[0] > 2 / 3


def test_an_absent_thing_leaves_no_pixel(renderer: Renderer) -> None:
    view = renderer.render(Scene(Camera(2, 0)))
    assert not view.classes.any()


def test_a_drive_becomes_a_bag_with_its_truth(renderer: Renderer, tmp_path: Path) -> None:
    from edgevlm_ros.bags import BagReader
    from edgevlm_ros.world.stream import film

    film(tmp_path / "bag", seed=4, seconds=0.6, supersample=1)
    with BagReader(tmp_path / "bag") as bag:
        counts = {topic.name: topic.count for topic in bag.topics.values()}
        assert counts == {"/image/compressed": 3, "/ground_truth": 3, "/camera_info": 1, "/question": 1}
        assert bag.topics["/question"].latched
        truths = [bag.deserialize(record) for record in bag.records(topics=["/ground_truth"])]
    assert all(truth.answer in q.ANSWERS[q.CART] for truth in truths)

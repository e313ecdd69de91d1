# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from dataclasses import asdict

from edgevlm_ros.world.dataset import ATTEMPTS, FIRST_SEED, SIZES
from edgevlm_ros.world.scene import AISLE_HALF_WIDTH, LOADS, NAMES, STATES, random_scene
from edgevlm_ros.world.stream import STREAM_SEEDS, aisles, drive


def test_the_same_seed_is_the_same_scene() -> None:
    assert random_scene(5) == random_scene(5)
    assert random_scene(5) != random_scene(6)


def test_scenes_hold_at_most_one_of_each_kind_inside_the_aisle() -> None:
    scenes = [random_scene(seed) for seed in range(200)]
    for scene in scenes:
        for thing in (scene.person, scene.cart, scene.machine):
            assert thing is None or abs(thing.y) <= AISLE_HALF_WIDTH
    assert {scene.cart.load for scene in scenes if scene.cart} == set(LOADS)
    assert {scene.machine.name for scene in scenes if scene.machine} == set(NAMES)
    assert {scene.machine.state for scene in scenes if scene.machine} == set(STATES)
    assert any(scene.person is None for scene in scenes)


def test_no_seed_is_in_two_splits_nor_in_the_demo() -> None:
    ranges = sorted((FIRST_SEED[split], FIRST_SEED[split] + size * ATTEMPTS) for split, size in SIZES.items())
    ranges.append((STREAM_SEEDS, STREAM_SEEDS + 10_000))
    for (_, end), (start, _) in itertools.pairwise(ranges):
        assert end <= start


def test_the_drive_moves_smoothly_and_asks_each_standing_question_once() -> None:
    moments = list(drive(3))
    assert len(moments) == 300
    asked = [moment.question for moment in moments]
    assert [question for i, question in enumerate(asked) if i == 0 or asked[i - 1] != question] == [
        part.question for part in aisles(3)
    ]
    for before, after in itertools.pairwise(moments):
        if before.question == after.question:
            old, new = before.scene.camera, after.scene.camera
            assert abs(new.x - old.x) < 0.1
            assert abs(new.yaw - old.yaw) < 0.02
            if before.scene.cart and after.scene.cart:
                assert abs(after.scene.cart.y - before.scene.cart.y) < 0.4


def test_the_drive_is_determined_by_its_seed() -> None:
    assert [asdict(m.scene) for m in drive(1, 4.0)] == [asdict(m.scene) for m in drive(1, 4.0)]
    assert aisles(1) != aisles(2)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import colorsys
import itertools
import math
from collections import Counter
from dataclasses import asdict

import pytest

from edgevlm_ros.world.dataset import ATTEMPTS, FIRST_SEED, SIZES
from edgevlm_ros.world.scene import (
    FACING,
    GESTURES,
    LOADS,
    NAMES,
    RACKS,
    ROLES,
    STATES,
    STYLES,
    Camera,
    Look,
    Person,
    Rgb,
    Scene,
    random_scene,
)
from edgevlm_ros.world.stream import STREAM_SEEDS, aisles, drive

SCENES = [random_scene(seed) for seed in range(400)]


def turned_away(person: Person, camera: Camera) -> float:
    """Angle between where the person looks and the camera, radians."""
    towards = math.atan2(camera.y - person.y, camera.x - person.x)
    return abs(math.remainder(person.yaw - towards, 2 * math.pi))


def twelfth(rgb: Rgb) -> int:
    return int(12 * colorsys.rgb_to_hsv(*rgb)[0])


def paints(scene: Scene) -> list[Rgb]:
    painted = [scene.hall.rack]
    painted += [scene.person.vest, scene.person.trousers] if scene.person else []
    painted += [scene.cart.body, scene.cart.crate] if scene.cart else []
    return painted + [machine.body for machine in (scene.machine, scene.second) if machine]


def test_the_same_seed_is_the_same_scene() -> None:
    assert random_scene(5) == random_scene(5)
    assert random_scene(5) != random_scene(6)
    assert random_scene(5, "val") != random_scene(5, "test")


def test_everything_stands_between_the_racks_and_nothing_in_another() -> None:
    for scene in SCENES:
        for thing in (scene.person, scene.cart, scene.machine, scene.second):
            assert thing is None or abs(thing.y) < RACKS
        placed = [(thing.x, thing.y) for thing in (scene.person, scene.cart, scene.machine, scene.second) if thing]
        for one, other in itertools.combinations(placed, 2):
            assert math.dist(one, other) > 0.6


def test_every_value_of_every_fact_occurs() -> None:
    assert {scene.cart.load for scene in SCENES if scene.cart} == set(LOADS)
    assert {scene.machine.name for scene in SCENES if scene.machine} == set(NAMES)
    assert {scene.machine.state for scene in SCENES if scene.machine} == set(STATES)
    assert {scene.person.role for scene in SCENES if scene.person} == set(ROLES)
    assert {scene.person.gesture for scene in SCENES if scene.person} == set(GESTURES)


@pytest.mark.parametrize("kind", ["person", "cart", "machine"])
def test_about_a_third_of_the_scenes_lack_each_thing(kind: str) -> None:
    lacking = sum(getattr(scene, kind) is None for scene in SCENES) / len(SCENES)
    assert 0.25 < lacking < 0.45


def test_half_of_the_machines_have_another_one_beside_them() -> None:
    machines = [scene for scene in SCENES if scene.machine]
    pairs = [(scene.machine, scene.second) for scene in machines if scene.machine and scene.second]
    assert 0.4 < len(pairs) / len(machines) < 0.6
    assert not any(scene.second for scene in SCENES if scene.machine is None)
    for machine, second in pairs:
        assert machine.name != second.name
        assert 1.1 < math.dist((machine.x, machine.y), (second.x, second.y)) < 1.5


def test_who_gives_a_sign_faces_the_camera() -> None:
    persons = [(scene.person, scene.camera) for scene in SCENES if scene.person]
    for person, camera in persons:
        assert person.gesture == "no sign" or turned_away(person, camera) <= FACING
    signs = Counter(person.gesture for person, _ in persons)
    assert 0.35 < 1 - signs["no sign"] / len(persons) < 0.55
    facing = sum(turned_away(person, camera) <= FACING for person, camera in persons)
    assert 0.5 < facing / len(persons) < 0.7


def test_no_two_looks_share_a_texture_or_a_hue() -> None:
    for one, other in itertools.combinations(STYLES.values(), 2):
        assert not set(one.textures) & set(other.textures)
        assert not set(one.hues) & set(other.hues)


@pytest.mark.parametrize("look", STYLES)
def test_a_scene_wears_its_look(look: Look) -> None:
    style = STYLES[look]
    for seed in range(60):
        scene = random_scene(seed, look)
        assert {scene.hall.floor, scene.hall.wall} <= set(style.textures)
        assert {twelfth(rgb) for rgb in paints(scene)} <= set(style.hues)
        assert style.ambient[0] <= scene.hall.ambient <= style.ambient[1]


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

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from edgevlm_ros.world import questions as q
from edgevlm_ros.world.render import CLASSES
from edgevlm_ros.world.scene import Camera, Cart, Machine, Person, Scene

HEIGHT, WIDTH = 240, 320
SCENE = Scene(
    Camera(0, 0),
    person=Person(3, 0, yaw=math.pi, role="medic", gesture="stop"),
    cart=Cart(3, 1, load="gas"),
    machine=Machine(4, 2, name="C", state="fault"),
    second=Machine(4, -2, name="A", state="idle"),
)
PERSON = {"person": (30, 60, 70, 200), "badge": (36, 90, 64, 118)}
CART = {"cart": (20, 100, 80, 160), "placard": (30, 110, 54, 134)}
MACHINE = {"machine": (230, 60, 290, 200), "plate": (250, 90, 276, 116), "light": (255, 50, 265, 60)}
SECOND = {"second": (120, 60, 180, 200), "secondplate": (140, 90, 166, 116), "secondlight": (145, 50, 155, 60)}


def picture(**boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A segmentation with the named classes painted in, in order: x0, y0, x1, y1 pixels."""
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    for name, (x0, y0, x1, y1) in boxes.items():
        classes[y0:y1, x0:x1] = CLASSES.index(name)
    return classes


def test_an_empty_aisle_is_answered_with_what_is_not_there() -> None:
    seen = q.observe(SCENE, picture())
    assert all(q.askable(question, seen) and q.answer(question, seen) == q.ABSENT[question] for question in q.ALL)


def test_the_side_is_the_third_that_holds_the_boxs_centre() -> None:
    for x, side in ((20, "left"), (140, "ahead"), (270, "right")):
        seen = q.observe(SCENE, picture(person=(x, 80, x + 30, 160)))
        assert q.answer(q.WHERE_PERSON, seen) == side
        assert seen.boxes["person"] == (x / WIDTH, 80 / HEIGHT, (x + 30) / WIDTH, 160 / HEIGHT)


def test_a_carts_load_is_the_scenes_and_one_passes_where_there_is_room() -> None:
    seen = q.observe(SCENE, picture(**CART))
    assert q.answer(q.CART, seen) == "gas, left"
    assert q.answer(q.AISLE, seen) == "gas, pass right"
    assert q.region_of(q.AISLE, seen) == ("cart", (20 / WIDTH, 100 / HEIGHT, 80 / WIDTH, 160 / HEIGHT))


def test_a_person_is_named_by_role_with_place_and_sign() -> None:
    seen = q.observe(SCENE, picture(**PERSON))
    assert q.answer(q.CROSSING, seen) == "medic, left"
    assert q.answer(q.GESTURE, seen) == "medic, stop"


def test_a_sign_that_is_not_given_to_this_robot_is_not_asked_about() -> None:
    assert SCENE.person is not None
    turned = replace(SCENE, person=replace(SCENE.person, yaw=0.0))
    seen = q.observe(turned, picture(**PERSON))
    assert not q.askable(q.GESTURE, seen)
    assert q.askable(q.CROSSING, seen)


def test_the_asked_machine_is_found_by_its_letter() -> None:
    seen = q.observe(SCENE, picture(**MACHINE, **SECOND))
    assert [q.answer(q.panel(name), seen) for name in "ABCD"] == ["idle", "not here", "fault", "not here"]
    assert q.region_of(q.panel("A"), seen) == ("machine", seen.boxes["second"])
    assert not q.askable(q.MACHINE, seen), "there are two"
    assert q.answer(q.MACHINE, q.observe(SCENE, picture(**MACHINE))) == "C, fault"


@pytest.mark.parametrize("question", [q.AISLE, q.CART])
def test_a_cart_whose_placard_is_hidden_or_far_leaves_the_load_open(question: str) -> None:
    for placard in ({}, {"placard": (30, 110, 42, 122)}):
        seen = q.observe(SCENE, picture(**({"cart": CART["cart"]} | placard)))
        assert not q.askable(question, seen)
        assert q.askable(q.WHERE_CART, seen)


def test_a_person_on_the_border_of_two_thirds_is_ambiguous_about_the_side_only() -> None:
    x = WIDTH // 3 - 15
    seen = q.observe(SCENE, picture(person=(x, 80, x + 30, 160), badge=(x, 90, x + 28, 118)))
    assert not q.askable(q.WHERE_PERSON, seen)
    assert q.askable(q.WHO, seen)
    assert q.answer(q.WHO, seen) == "medic"


def test_what_may_or_may_not_be_there_is_not_asked_about() -> None:
    assert not q.askable(q.WHERE_CART, q.observe(SCENE, picture(cart=(20, 100, 28, 108))))


def test_a_placard_cut_by_the_frames_edge_is_unreadable() -> None:
    seen = q.observe(SCENE, picture(cart=(0, 100, 60, 160), placard=(0, 110, 12, 134)))
    assert not q.askable(q.LOAD, seen)


def test_what_is_visible_does_not_depend_on_the_pictures_size() -> None:
    small = picture(**CART, **MACHINE)
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    assert q.observe(SCENE, small) == q.observe(SCENE, large)


def test_the_facts_of_an_answer_are_its_parts_and_who_can_see_them() -> None:
    seen = q.observe(SCENE, picture(**CART))
    load, side = q.facts_of(q.AISLE, seen)
    assert (load.name, load.value, load.cloud_sees, load.edge_sees) == ("load", "gas", True, False)
    assert (side.name, side.value, side.cloud_sees, side.edge_sees) == ("pass", "pass right", True, True)
    assert load.size == pytest.approx(24 / HEIGHT)


def test_to_say_that_a_machine_is_not_here_takes_the_letters_of_those_that_are() -> None:
    seen = q.observe(SCENE, picture(**MACHINE, **SECOND))
    assert [fact.name for fact in q.facts_of(q.panel("B"), seen)] == ["name", "second name"]
    assert [fact.name for fact in q.facts_of(q.panel("A"), seen)] == ["second name", "second state"]
    assert [fact.value for fact in q.facts_of(q.panel("B"), q.observe(SCENE, picture()))] == ["none"]


@pytest.mark.parametrize("question", q.ALL)
def test_every_answer_is_made_of_its_parts_values(question: str) -> None:
    for classes in (picture(**PERSON, **MACHINE), picture(**CART, **SECOND), picture()):
        seen = q.observe(SCENE, classes)
        said = q.answer(question, seen) if q.askable(question, seen) else q.ABSENT[question]
        if said != q.ABSENT[question]:
            parts = said.split(", ")
            assert all(part in q.VALUES[name] for part, name in zip(parts, q.PARTS_OF[question], strict=True))

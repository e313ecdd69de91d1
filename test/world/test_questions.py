# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from edgevlm_ros.world import questions as q
from edgevlm_ros.world.render import CLASSES
from edgevlm_ros.world.scene import Camera, Cart, Machine, Person, Scene

HEIGHT, WIDTH = 240, 320
SCENE = Scene(
    Camera(0, 0), person=Person(3, 0), cart=Cart(3, 1, load="gas"), machine=Machine(4, 2, name="C", state="fault")
)


def picture(**boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A segmentation with the named classes painted in, in order: x0, y0, x1, y1 pixels."""
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    for name, (x0, y0, x1, y1) in boxes.items():
        classes[y0:y1, x0:x1] = CLASSES.index(name)
    return classes


def test_an_empty_aisle_is_answered_with_what_is_not_there() -> None:
    seen = q.observe(SCENE, picture())
    assert [q.answer(question, seen) for question in q.STANDING] == ["nobody", "no cart", "no machine"]
    assert seen.ambiguous == ()


def test_the_side_is_the_third_that_holds_the_boxs_centre() -> None:
    for x, side in ((20, "left"), (150, "ahead"), (280, "right")):
        seen = q.observe(SCENE, picture(person=(x, 80, x + 20, 160)))
        assert q.answer(q.WHERE_PERSON, seen) == side
        assert seen.person == (x / WIDTH, 80 / HEIGHT, (x + 20) / WIDTH, 160 / HEIGHT)


def test_a_carts_load_is_the_scenes_and_its_box_contains_the_placard() -> None:
    seen = q.observe(SCENE, picture(cart=(20, 100, 80, 160), placard=(30, 110, 50, 130)))
    assert q.answer(q.CART, seen) == "gas, left"
    assert q.answer(q.LOAD, seen) == "gas"
    assert q.answer(q.WHERE_CART, seen) == "left"
    assert seen.cart == (20 / WIDTH, 100 / HEIGHT, 80 / WIDTH, 160 / HEIGHT)


def test_a_machine_is_named_with_its_state() -> None:
    seen = q.observe(SCENE, picture(machine=(230, 60, 290, 200), plate=(250, 90, 270, 110), light=(255, 50, 265, 60)))
    assert q.answer(q.MACHINE, seen) == "C, fault"
    assert (q.answer(q.NAME, seen), q.answer(q.STATE, seen)) == ("C", "fault")


def test_a_cart_whose_placard_is_hidden_is_ambiguous() -> None:
    assert q.observe(SCENE, picture(cart=(20, 100, 80, 160))).ambiguous == ("cart",)


def test_a_person_on_the_border_of_two_thirds_is_ambiguous() -> None:
    x = WIDTH // 3 - 10
    assert q.observe(SCENE, picture(person=(x, 80, x + 20, 160))).ambiguous == ("person",)


def test_a_placard_cut_by_the_frames_edge_is_ambiguous() -> None:
    seen = q.observe(SCENE, picture(cart=(0, 100, 60, 160), placard=(0, 110, 8, 130)))
    assert "cart" in seen.ambiguous


def test_what_is_visible_does_not_depend_on_the_pictures_size() -> None:
    small = picture(cart=(20, 100, 80, 160), placard=(30, 110, 50, 130))
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    assert q.observe(SCENE, small) == q.observe(SCENE, large)


@pytest.mark.parametrize("question", q.ALL)
def test_every_answer_is_among_the_questions_answers(question: str) -> None:
    full = picture(
        person=(20, 80, 40, 160),
        cart=(120, 100, 180, 160),
        placard=(130, 110, 150, 130),
        machine=(230, 60, 290, 200),
        plate=(250, 90, 270, 110),
        light=(255, 50, 265, 60),
    )
    for classes in (full, picture()):
        assert q.answer(question, q.observe(SCENE, classes)) in q.ANSWERS[question]

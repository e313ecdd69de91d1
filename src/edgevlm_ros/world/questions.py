# SPDX-License-Identifier: Apache-2.0
"""The questions of the hall and their one right answer, from what can be seen in a frame.

What counts as there is what the segmentation shows large enough: nobody has to answer for what a rack hides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgevlm_ros.world.render import CLASSES
from edgevlm_ros.world.scene import LOADS, NAMES, STATES, Scene

WHERE_PERSON = "Where is the person?"
CART = "What does the cart carry, and where is it?"
MACHINE = "Which machine is it, and what is its state?"
WHERE_CART = "Where is the cart?"
LOAD = "What does the cart carry?"
NAME = "Which machine is it?"
STATE = "What is the state of the machine?"

STANDING = (WHERE_PERSON, CART, MACHINE)  # the demo's
HALVES = (WHERE_CART, LOAD, NAME, STATE)
ALL = STANDING + HALVES

SIDES = ("left", "ahead", "right")
ABSENT = {"person": "nobody", "cart": "no cart", "machine": "no machine"}
SUBJECT = {
    WHERE_PERSON: "person",
    CART: "cart",
    WHERE_CART: "cart",
    LOAD: "cart",
    MACHINE: "machine",
    NAME: "machine",
    STATE: "machine",
}
ANSWERS: dict[str, tuple[str, ...]] = {
    WHERE_PERSON: ("nobody", *SIDES),
    WHERE_CART: ("no cart", *SIDES),
    LOAD: ("no cart", *LOADS),
    NAME: ("no machine", *NAMES),
    STATE: ("no machine", *STATES),
    CART: ("no cart", *(f"{load}, {side}" for load in LOADS for side in SIDES)),
    MACHINE: ("no machine", *(f"{name}, {state}" for name in NAMES for state in STATES)),
}

PARTS = {"person": ("person",), "cart": ("cart", "placard"), "machine": ("machine", "plate", "light")}
# Fewest pixels of a 320x240 frame that make a thing visible, whole and in its telling parts. Below FAINT it is absent;
# between the two the frame is ambiguous and no honest question.
ENOUGH = {
    "person": {"person": 150},
    "cart": {"cart": 60, "placard": 90},
    "machine": {"machine": 200, "plate": 90, "light": 16},
}
FAINT = 20
MARGIN = 0.02  # a box centre nearer than this to the border of two thirds is ambiguous, fraction of the width

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Observation:
    """What one frame shows. Boxes are fractions of width and height, x0 y0 x1 y1; None where nothing is seen.

    ambiguous: names of the things that are half hidden, cut or on the border between two sides.
    """

    person: Box | None = None
    cart: Box | None = None
    machine: Box | None = None
    load: str | None = None
    name: str | None = None
    state: str | None = None
    ambiguous: tuple[str, ...] = ()

    def box(self, subject: str) -> Box | None:
        return {"person": self.person, "cart": self.cart, "machine": self.machine}[subject]


def observe(scene: Scene, classes: np.ndarray) -> Observation:
    """classes: (H, W) uint8 segmentation of the scene's frame, any size of 4:3."""
    height, width = classes.shape
    scale = 320 * 240 / (height * width)
    boxes: dict[str, Box | None] = {}
    ambiguous = []
    for subject, parts in PARTS.items():
        mask = np.isin(classes, [CLASSES.index(part) for part in parts])
        total = int(mask.sum()) * scale
        seen = all(
            int((classes == CLASSES.index(part)).sum()) * scale >= enough for part, enough in ENOUGH[subject].items()
        )
        boxes[subject] = mask_box(mask) if seen else None
        box = boxes[subject]
        if (not seen and total >= FAINT) or (box and (_on_border(box) or _cut_sign(classes, subject))):
            ambiguous.append(subject)
    cart, machine = boxes["cart"], boxes["machine"]
    return Observation(
        person=boxes["person"],
        cart=cart,
        machine=machine,
        load=scene.cart.load if cart and scene.cart else None,
        name=scene.machine.name if machine and scene.machine else None,
        state=scene.machine.state if machine and scene.machine else None,
        ambiguous=tuple(ambiguous),
    )


def answer(question: str, seen: Observation) -> str:
    """The one right answer."""
    subject = SUBJECT[question]
    box = seen.box(subject)
    if box is None:
        return ABSENT[subject]
    if question in (WHERE_PERSON, WHERE_CART):
        return side(box)
    if question == LOAD:
        return str(seen.load)
    if question == CART:
        return f"{seen.load}, {side(box)}"
    if question == NAME:
        return str(seen.name)
    if question == STATE:
        return str(seen.state)
    return f"{seen.name}, {seen.state}"


def side(box: Box) -> str:
    """Third of the image that holds the box's centre."""
    return SIDES[min(2, int(3 * (box[0] + box[2]) / 2))]


def mask_box(mask: np.ndarray) -> Box:
    """The box around the True pixels, as fractions."""
    height, width = mask.shape
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )


def _on_border(box: Box) -> bool:
    centre = (box[0] + box[2]) / 2
    return min(abs(centre - 1 / 3), abs(centre - 2 / 3)) < MARGIN


def _cut_sign(classes: np.ndarray, subject: str) -> bool:
    """True if the frame's edge cuts the sign that tells load or name to less than a readable strip."""
    part = {"cart": "placard", "machine": "plate"}.get(subject)
    if part is None:
        return False
    mask = classes == CLASSES.index(part)
    x0, y0, x1, y1 = mask_box(mask)
    if x0 > 0.004 and x1 < 0.996:
        return False
    return (x1 - x0) * 4 / 3 < 0.75 * (y1 - y0)

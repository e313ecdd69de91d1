# SPDX-License-Identifier: Apache-2.0
"""The questions of the hall and their one right answer, from what can be seen in a frame.

Four datasets ask one question each, whose answer has a slow part, told by a sign that needs good eyes, and a fast part
that coarse ones see. What counts as there is what the segmentation shows large enough: nobody has to answer for what a
rack hides.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgevlm_ros.world.render import CLASSES
from edgevlm_ros.world.scene import GESTURES, LOADS, NAMES, ROLES, STATES, Scene

WHERE_PERSON = "Where is the person?"
CART = "What does the cart carry, and where is it?"
MACHINE = "Which machine is it, and what is its state?"
AISLE = "What is ahead, and where do I pass?"
CROSSING = "Who crosses, and where?"
GESTURE = "Who gives a sign, and which?"
WHERE_CART = "Where is the cart?"
LOAD = "What does the cart carry?"
NAME = "Which machine is it?"
STATE = "What is the state of the machine?"
WHO = "Who is the person?"
SIGN = "Which sign does the person give?"


def panel(name: str) -> str:
    """The question about the machine with that letter."""
    return f"What is the state of machine {name}?"


PANEL = {panel(name): name for name in NAMES}
DATASETS = ("aisle", "crossing", "gesture", "panel")
DEMO = (WHERE_PERSON, CART, MACHINE)  # the demo drive's
TASKS = (AISLE, CROSSING, GESTURE, *PANEL)  # the datasets'
HALVES = (WHERE_CART, LOAD, NAME, STATE, WHO, SIGN)
ALL = DEMO + TASKS + HALVES

SIDES = ("left", "ahead", "right")
PASSES = ("pass left", "pass right")
ABSENT = {
    **dict.fromkeys((WHERE_PERSON, CROSSING, GESTURE, WHO, SIGN), "nobody"),
    **dict.fromkeys((CART, WHERE_CART, LOAD), "no cart"),
    **dict.fromkeys((MACHINE, NAME, STATE), "no machine"),
    AISLE: "way free",
    **dict.fromkeys(PANEL, "not here"),
}
# The facts that an answer is made of, in its order. A panel's are its machine's, whichever of the two it is.
PARTS_OF = {
    WHERE_PERSON: ("person side",),
    WHERE_CART: ("cart side",),
    CART: ("load", "cart side"),
    LOAD: ("load",),
    AISLE: ("load", "pass"),
    CROSSING: ("role", "person side"),
    GESTURE: ("role", "gesture"),
    WHO: ("role",),
    SIGN: ("gesture",),
    MACHINE: ("name", "state"),
    NAME: ("name",),
    STATE: ("state",),
    **dict.fromkeys(PANEL, ("state",)),
}
VALUES: dict[str, tuple[str, ...]] = {
    "load": LOADS,
    "role": ROLES,
    "name": NAMES,
    "state": STATES,
    "gesture": GESTURES,
    "person side": SIDES,
    "cart side": SIDES,
    "pass": PASSES,
}
SUBJECT_OF = {
    "load": "cart",
    "cart side": "cart",
    "pass": "cart",
    "role": "person",
    "gesture": "person",
    "person side": "person",
    "name": "machine",
    "state": "machine",
    "second name": "second",
    "second state": "second",
}
SLOW = ("load", "role", "name")  # told by signs; everything else changes by itself
SUBJECTS = {
    "person": ("person", "badge"),
    "cart": ("cart", "placard"),
    "machine": ("machine", "plate", "light"),
    "second": ("second", "secondplate", "secondlight"),
}
MACHINES = ("machine", "second")
SIGN_PARTS = {"load": "placard", "role": "badge", "name": "plate", "second name": "secondplate"}
LAMP_PARTS = {"state": "light", "second state": "secondlight"}

# Pixels of a 320x240 frame. A thing is there from ENOUGH of them on, and not there below FAINT; between the two the
# frame is ambiguous and no honest question. Likewise a sign is readable, for the better of the two models, from a
# height on and if it is neither turned away nor cut; a lamp from an area on.
ENOUGH = {"person": 260, "cart": 200, "machine": 300, "second": 300}
FAINT = 20
READABLE = 21.0
FRONTAL = 0.5  # area of a sign / its height squared
LAMP = 14
MARGIN = 0.025  # a box centre nearer than this to the border between two answers is ambiguous, fraction of the width
# The coarse eye of the small model tells a sign from this height on, as a fraction of the image's.
EDGE_READS = 0.24

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Observation:
    """What one frame shows.

    boxes: of the subjects that are there, fractions of width and height, x0 y0 x1 y1. facts: by name, of the subjects
    that are there. sizes: the signs' heights, as fractions of the image's. ambiguous: subjects that may or may not be
    there, and facts that cannot be told.
    """

    boxes: Mapping[str, Box] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    ambiguous: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that has to be known to answer. size: of the sign that tells it, a fraction of the height, or 0.

    edge_sees, cloud_sees: whether the frame shows it to the small and to the large model.
    """

    name: str
    value: str
    subject: str
    size: float
    edge_sees: bool
    cloud_sees: bool


def observe(scene: Scene, classes: np.ndarray) -> Observation:
    """classes: (H, W) uint8 segmentation of the scene's frame, any size of 4:3."""
    return seen_in(told_by(scene), classes)


def told_by(scene: Scene) -> dict[str, str]:
    """All that a perfect eye could read off the things of a scene."""
    facts: dict[str, str] = {}
    if scene.cart:
        facts["load"] = scene.cart.load
    if scene.person:
        facts["role"] = scene.person.role
        person, camera = scene.person, scene.camera
        turned = person.yaw - math.atan2(camera.y - person.y, camera.x - person.x)
        facing = abs(math.remainder(turned, 2 * math.pi)) < math.radians(40)
        if facing or person.gesture == "no sign":  # from behind or aside no sign is given to this robot
            facts["gesture"] = person.gesture
    for prefix, machine in (("", scene.machine), ("second ", scene.second)):
        if machine:
            facts |= {f"{prefix}name": machine.name, f"{prefix}state": machine.state}
    return facts


def seen_in(told: Mapping[str, str], classes: np.ndarray) -> Observation:
    """What a segmented frame, or a window of one, shows of the things of which so much can be told."""
    height, width = classes.shape
    scale = 320 * 240 / (height * width)
    boxes: dict[str, Box] = {}
    facts: dict[str, str] = {}
    sizes: dict[str, float] = {}
    ambiguous: list[str] = []
    for subject, parts in SUBJECTS.items():
        mask = np.isin(classes, [CLASSES.index(part) for part in parts])
        total = int(mask.sum()) * scale
        if total < FAINT:
            continue
        if total < ENOUGH[subject]:
            ambiguous.append(subject)
            continue
        box = boxes[subject] = mask_box(mask)
        if subject == "person" and box[3] - box[1] < 0.25:  # an arm around the corner
            ambiguous.append(subject)
        for name in (name for name, of in SUBJECT_OF.items() if of == subject):
            if name in SIGN_PARTS:
                sizes[name] = 0.0
                sign = classes == CLASSES.index(SIGN_PARTS[name])
                if sign.any():
                    x0, y0, x1, y1 = mask_box(sign)
                    sizes[name] = y1 - y0
                    area = sign.sum() * scale / ((y1 - y0) * 240) ** 2
                    cut = x0 < 0.004 or x1 > 0.996 or y0 < 0.005 or y1 > 0.995
                    if (y1 - y0) * 240 < READABLE or area < (0.8 if cut else FRONTAL):
                        ambiguous.append(name)
                else:
                    ambiguous.append(name)
            elif name in LAMP_PARTS:
                if int((classes == CLASSES.index(LAMP_PARTS[name])).sum()) * scale < LAMP:
                    ambiguous.append(name)
            elif name.endswith("side"):
                facts[name] = side(box)
                if min(abs(_middle(box) - 1 / 3), abs(_middle(box) - 2 / 3)) < MARGIN:
                    ambiguous.append(name)
            elif name == "pass":
                facts[name] = PASSES[0] if _middle(box) > 0.5 else PASSES[1]
                if abs(_middle(box) - 0.5) < 1.5 * MARGIN:
                    ambiguous.append(name)
            if name in told:
                facts[name] = told[name]
            elif name not in facts:
                ambiguous.append(name)
        if subject == "person" and "gesture" in facts and (box[0] < 0.004 or box[2] > 0.996):
            ambiguous.append("gesture")  # an arm may be outside
    return Observation(boxes, facts, sizes, tuple(dict.fromkeys(ambiguous)))


def answer(question: str, seen: Observation) -> str:
    """The one right answer."""
    subject = subject_of(question, seen)
    if subject is None or subject not in seen.boxes:
        return ABSENT[question]
    return ", ".join(seen.facts[_named(part, subject)] for part in PARTS_OF[question])


def answers(question: str) -> tuple[str, ...]:
    """All that can be right of a question of the world, whether or not some stream shows it."""
    facts = itertools.product(*(VALUES[part] for part in PARTS_OF[question]))
    return (*(", ".join(each) for each in facts), ABSENT[question])


def subject_of(question: str, seen: Observation) -> str | None:
    """What the question is about in this frame; None for a machine that is not here."""
    if question in PANEL:
        wanted = PANEL[question]
        return next((m for m in MACHINES if m in seen.boxes and seen.facts[_named("name", m)] == wanted), None)
    return SUBJECT_OF[PARTS_OF[question][0]]


def askable(question: str, seen: Observation) -> bool:
    """False where the frame leaves the answer open."""
    if (
        question in (MACHINE, NAME, STATE) and "second" in seen.boxes
    ):  # "the machine" is one only where there are not two
        return False
    return not any(name in seen.ambiguous for name in _needed(question, seen))


def region_of(question: str, seen: Observation) -> tuple[str, Box] | None:
    """What an answer speaks about, and where it is."""
    subject = subject_of(question, seen)
    if subject is None or subject not in seen.boxes:
        return None
    return ("machine" if subject == "second" else subject), seen.boxes[subject]


def facts_of(question: str, seen: Observation) -> tuple[Fact, ...]:
    """What the answer is made of, and who can see it in this frame."""
    subject = subject_of(question, seen)
    if question in PANEL:  # the letters of all that are here have to be known, to say where the one is, or that none is
        read = (
            [_named("name", m) for m in MACHINES if m in seen.boxes] if subject is None else [_named("name", subject)]
        )
        facts = [_fact(name, seen) for name in read]
        if subject is not None:
            facts.append(_fact(_named("state", subject), seen))
        return tuple(facts) or (Fact("machine", "none", "machine", 0.0, True, True),)
    if subject is None or subject not in seen.boxes:
        return (Fact(str(subject), "none", str(subject), 0.0, True, True),)
    return tuple(_fact(_named(part, subject), seen) for part in PARTS_OF[question])


def side(box: Box) -> str:
    """Third of the image that holds the box's centre."""
    return SIDES[min(2, int(3 * _middle(box)))]


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


def _needed(question: str, seen: Observation) -> list[str]:
    """Subjects and facts that must not be ambiguous."""
    if question in PANEL:
        here = [m for m in MACHINES if m in seen.boxes]
        subject = subject_of(question, seen)
        state = [] if subject is None else [_named("state", subject)]
        return [*MACHINES, *(_named("name", m) for m in here), *state]
    subject = SUBJECT_OF[PARTS_OF[question][0]]
    return [*(MACHINES if subject == "machine" else (subject,)), *PARTS_OF[question]]


def _fact(name: str, seen: Observation) -> Fact:
    size = seen.sizes.get(name, 0.0)
    sees = name not in seen.ambiguous
    edge = sees and (size >= EDGE_READS if name in SIGN_PARTS else True)
    return Fact(name, seen.facts.get(name, "unknown"), SUBJECT_OF[name], size, edge, sees)


def _named(part: str, subject: str) -> str:
    return f"second {part}" if subject == "second" else part


def _middle(box: Box) -> float:
    return (box[0] + box[2]) / 2

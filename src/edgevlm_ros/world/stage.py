# SPDX-License-Identifier: Apache-2.0
"""A stream as a play: a robot that drives and looks, and actors that come, move and go, each with its number.

The scripts of the four datasets (aisle.py, crossing.py, gesture.py, panel.py) say who is asked about; those whom
nobody asks about, and who now and then hide the others, are cast here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from edgevlm_ros.world.film import Moment
from edgevlm_ros.world.motion import OUTSIDE, Curve, Ego, Steps, changing, spells
from edgevlm_ros.world.scene import (
    NAMES,
    STATES,
    Camera,
    Cart,
    Hall,
    Look,
    Machine,
    Person,
    Scene,
    random_cart,
    random_machine,
    random_person,
)

Thing = Person | Cart | Machine


@dataclass(frozen=True, slots=True)
class Actor:
    """One individual. subject: the place in a scene that it takes. number: which it is, from 1."""

    subject: str
    number: int
    since: float
    until: float
    pose: Callable[[float], Thing]


@dataclass(frozen=True, slots=True)
class Play:
    """Everything that happens in a stream, with the one question that stands all the time."""

    question: str
    hall: Hall
    ego: Ego
    actors: tuple[Actor, ...]

    def moment(self, t: float) -> Moment:
        """A scene has one place for each subject: the actor nearest the middle of the view gets it."""
        camera = self.ego.camera(t)
        things: dict[str, Any] = {}
        numbers: dict[str, int] = {}
        off: dict[str, float] = {}
        for actor in self.actors:
            if not actor.since <= t < actor.until:
                continue
            thing = actor.pose(t)
            angle = abs(_bearing(camera, thing))
            if angle < off.get(actor.subject, math.inf):
                things[actor.subject], numbers[actor.subject], off[actor.subject] = thing, actor.number, angle
        scene = replace(Scene(camera, self.hall), **things)
        return Moment(t, self.question, scene, self.ego.sweep(t), self.ego.gain(t), numbers)

    def moments(self, seconds: float, rate: float) -> Iterator[Moment]:
        return (self.moment(k / rate) for k in range(round(seconds * rate)))


class Script(Protocol):
    """Writes the play of one stream; `seconds` long, the same one for the same state of the generator."""

    def __call__(self, rng: np.random.Generator, look: Look, seconds: float) -> Play: ...


def driven(cart: Cart, x: Curve, y: Curve) -> Callable[[float], Cart]:
    """A cart that steers a little to where it goes."""
    return lambda t: replace(cart, x=x(t), y=y(t), yaw=cart.yaw + 0.3 * math.tanh(_rate(y, t)))


def walking(person: Person, x: Curve, y: Curve) -> Callable[[float], Person]:
    """A person who looks where it goes."""

    def pose(t: float) -> Person:
        yaw = math.atan2(_rate(y, t), _rate(x, t))
        return replace(person, x=x(t), y=y(t), yaw=yaw, phase=person.phase + 5.0 * (x(t) + y(t)))

    return pose


def facing(person: Person, ego: Ego, x: Curve, y: Curve, turned: Curve, lean: float) -> Callable[[float], Person]:
    """A person who keeps its front or back to the robot, and turns half to where it goes.

    turned: 0 towards the robot, pi away from it. lean: radians that it turns at a speed of 1 m/s sideways.
    """

    def pose(t: float) -> Person:
        towards = math.atan2(ego.y(t) - y(t), ego.x(t) - x(t))
        away = turned(t)
        yaw = towards + away - math.cos(away) * float(np.clip(lean * _rate(y, t), -0.85, 0.85))
        phase = person.phase + 5.0 * (x(t) + y(t)) + 0.5 * math.sin(1.7 * t)
        return replace(person, x=x(t), y=y(t), yaw=yaw, phase=phase)

    return pose


def signing(stands: Callable[[float], Person], signs: Steps) -> Callable[[float], Person]:
    """A person who gives signs."""
    return lambda t: replace(stands(t), gesture=signs(t))


def passing_persons(
    rng: np.random.Generator, look: Look, ego: Ego, seconds: float, numbers: Iterator[int], depths: Sequence[float]
) -> list[Actor]:
    """Persons who walk across the view now and then, one after the other, at one of the depths."""
    actors = []
    for start in spells(rng, float(rng.uniform(-5.0, 15.0)), seconds, 9.0, 22.0):
        person = random_person(rng, 0, 0, 0, look=look)
        speed = float(rng.uniform(1.1, 1.6))
        x, y, takes = _across(rng, ego, start, speed, depths)
        actors.append(Actor("person", next(numbers), start, start + takes, walking(person, x, y)))
    return actors


def passing_carts(
    rng: np.random.Generator, look: Look, ego: Ego, seconds: float, numbers: Iterator[int], depths: Sequence[float]
) -> list[Actor]:
    """Carts that drive across the view now and then, one after the other, at one of the depths."""
    actors = []
    for start in spells(rng, float(rng.uniform(-5.0, 15.0)), seconds, 10.0, 25.0):
        speed = float(rng.uniform(1.2, 2.0))
        x, y, takes = _across(rng, ego, start, speed, depths)
        heading = math.copysign(math.pi / 2, y(start + 0.1) - y(start))
        cart = random_cart(rng, 0, 0, heading, look=look)
        actors.append(Actor("cart", next(numbers), start, start + takes, driven(cart, x, y)))
    return actors


def standing_machines(
    rng: np.random.Generator, look: Look, seconds: float, numbers: Iterator[int], places: Sequence[float]
) -> list[Actor]:
    """A machine at each of these x, on alternating sides of the aisle."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    names = rng.permutation(NAMES).tolist()
    actors = []
    for k, x in enumerate(places):
        side = -side
        yaw = -side * math.pi / 2 + side * float(rng.uniform(-1.2, -0.5))  # turned to those who come up the aisle
        machine = random_machine(rng, x, side * float(rng.uniform(2.2, 2.6)), yaw, names[k % len(names)], look=look)
        state = changing(rng, spells(rng, 0.0, seconds, 2.0, 12.0), STATES)
        actors.append(Actor("machine", next(numbers), 0.0, seconds, running(machine, state)))
    return actors


def running(machine: Machine, state: Steps) -> Callable[[float], Machine]:
    """A machine whose lamp changes."""
    return lambda t: replace(machine, state=state(t))


def _across(
    rng: np.random.Generator, ego: Ego, start: float, speed: float, depths: Sequence[float]
) -> tuple[Curve, Curve, float]:
    """x and y of a straight way from behind one wall to behind the other, and the seconds that it takes."""
    takes = 2 * OUTSIDE / speed
    place = ego.x(start + takes / 2) + depths[int(rng.integers(len(depths)))] + float(rng.uniform(-0.15, 0.15))
    side = 1.0 if rng.random() < 0.5 else -1.0
    return (lambda t: place), (lambda t: side * (speed * (t - start) - OUTSIDE)), takes


def _bearing(camera: Camera, thing: Thing) -> float:
    """Radians left of the middle of the view."""
    angle = math.atan2(thing.y - camera.y, thing.x - camera.x) - camera.yaw
    return math.remainder(angle, 2 * math.pi)


def _rate(curve: Curve, t: float) -> float:
    return (curve(t + 0.05) - curve(t - 0.05)) / 0.1

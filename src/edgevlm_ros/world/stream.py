# SPDX-License-Identifier: Apache-2.0
"""The demo's camera drive: the hall over time, filmed into a rosbag2 with its questions and the truth.

Three aisles of 20 s, one standing question each. Things move slowly enough that an answer which comes two or three
seconds late still speaks of what is in view, and signs are mostly too far away for the small model to read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edgevlm_ros.bag_writer import BagWriter
from edgevlm_ros.world import questions as q
from edgevlm_ros.world.film import RATE, Moment, film_moments
from edgevlm_ros.world.render import Renderer, require_rendering
from edgevlm_ros.world.scene import (
    LOADS,
    NAMES,
    STATES,
    Camera,
    Cart,
    Hall,
    Machine,
    Person,
    Scene,
    gate_x,
    random_cart,
    random_hall,
    random_machine,
    random_person,
)

WIDTH, HEIGHT = 640, 480
AISLE_SECONDS = 20.0
STREAM_SEEDS = 90_000_000  # apart from all seeds of dataset.py
JPEG_QUALITY = 78

Track = tuple[float, float, tuple[float, float], tuple[float, float]]  # from s, to s, from x y, to x y


@dataclass(frozen=True, slots=True)
class Aisle:
    """One of the drive's parts. Times are seconds since its beginning; things exist only during their tracks."""

    question: str
    hall: Hall
    start_x: float
    speed: float
    mirrored: bool
    carts: tuple[tuple[Track, Cart], ...] = ()
    persons: tuple[tuple[Track, Person], ...] = ()
    machine: Machine | None = None
    states: tuple[tuple[float, str], ...] = ()  # from when the machine is in which state

    def scene(self, t: float) -> Scene:
        camera = Camera(
            x=self.start_x + self.speed * t,
            y=0.25 * math.sin(0.23 * t + 1.0),
            z=1.15 + 0.008 * math.sin(5.1 * t),
            yaw=0.05 * math.sin(0.31 * t) + 0.012 * math.sin(1.7 * t),
            pitch=0.04 + 0.006 * math.sin(2.3 * t),
        )
        cart = next((self._moved(thing, track, t) for track, thing in self.carts if track[0] <= t < track[1]), None)
        person = next((self._moved(thing, track, t) for track, thing in self.persons if track[0] <= t < track[1]), None)
        machine = self.machine
        if machine:
            state = [state for since, state in self.states if since <= t][-1]
            sign = -1.0 if self.mirrored else 1.0
            machine = replace(machine, y=sign * machine.y, yaw=sign * machine.yaw, state=state)
        return Scene(camera, self.hall, person, cart, machine)

    def _moved(self, thing: Any, track: Track, t: float) -> Any:
        since, until, (x0, y0), (x1, y1) = track
        sign = -1.0 if self.mirrored else 1.0
        done = (t - since) / (until - since)
        heading = math.atan2(sign * (y1 - y0), x1 - x0) if (x0, y0) != (x1, y1) else sign * thing.yaw
        moved = replace(thing, x=x0 + done * (x1 - x0), y=sign * (y0 + done * (y1 - y0)), yaw=heading)
        return replace(moved, phase=5.5 * t) if isinstance(moved, Person) and (x0, y0) != (x1, y1) else moved


def aisles(seed: int) -> list[Aisle]:
    """The drive: loads on the move, a machine passed by, people crossing."""
    rng = np.random.default_rng(STREAM_SEEDS + seed)
    loads = rng.permutation(LOADS).tolist()
    names = rng.permutation(NAMES).tolist()
    states = rng.permutation(STATES).tolist()
    gate = gate_x(2)

    def cart(track: Track, load: str) -> tuple[Track, Cart]:
        return track, replace(random_cart(rng, 0, 0, 0, load), cabin=False)

    def person(track: Track) -> tuple[Track, Person]:
        return track, random_person(rng, 0, 0, 0)

    def hall(floor: int, wall: int) -> Hall:
        drawn = random_hall(rng)
        return replace(drawn, floor=floor, wall=wall, gates=(2,), ambient=0.5, sun=0.55)

    first = Aisle(
        q.CART,
        hall(0, 1),
        start_x=gate - 5.6,
        speed=0.1,
        mirrored=bool(rng.random() < 0.5),
        carts=(
            cart((0.0, 11.0, (gate, 4.0), (gate, -5.4)), loads[0]),
            cart((11.8, 22.0, (gate + 0.4, -5.2), (gate - 2.2, 2.0)), loads[1]),
        ),
        persons=(person((3.0, 20.0, (gate + 9.0, 1.3), (gate + 2.0, 2.1))),),
    )
    second = Aisle(
        q.MACHINE,
        hall(1, 2),
        start_x=gate - 5.3,
        speed=0.21,
        mirrored=bool(rng.random() < 0.5),
        machine=replace(random_machine(rng, gate + 1.8, 1.75, 0.0, names[0]), yaw=math.pi + 0.28),
        states=((0.0, states[0]), (6.5, states[1]), (12.5, states[2])),
        persons=(person((1.0, 13.0, (gate + 7.0, -1.9), (gate - 0.4, -2.2))),),
    )
    parked = replace(random_cart(rng, 0, 0, 0), cabin=False)
    third = Aisle(
        q.WHERE_PERSON,
        hall(2, 0),
        start_x=gate - 5.0,
        speed=0.12,
        mirrored=bool(rng.random() < 0.5),
        persons=(
            person((0.0, 8.5, (gate, 4.0), (gate, -5.2))),
            person((10.0, 20.5, (gate + 0.3, -5.0), (gate - 1.6, 1.9))),
        ),
        carts=(((0.0, 99.0, (gate + 3.4, 2.1), (gate + 3.4, 2.1)), replace(parked, yaw=1.3)),),
        machine=replace(random_machine(rng, gate + 2.6, -2.2, 0.0, names[1]), yaw=math.pi - 0.2),
        states=((0.0, states[1]), (9.0, states[0])),
    )
    return [first, second, third]


def drive(seed: int, seconds: float = 3 * AISLE_SECONDS, rate: float = RATE) -> Iterator[Moment]:
    parts = aisles(seed)
    for k in range(round(seconds * rate)):
        t = k / rate
        part = parts[min(len(parts) - 1, int(t / AISLE_SECONDS))]
        yield Moment(t, part.question, part.scene(t - parts.index(part) * AISLE_SECONDS))


def film(out: Path, seed: int, *, seconds: float = 3 * AISLE_SECONDS, supersample: int = 2) -> None:
    """Writes the drive as a rosbag2 folder: image/compressed, camera_info, question, ground_truth of every frame."""
    require_rendering()
    moments = tqdm(list(drive(seed, seconds)), desc="filming", unit="frame")
    with (
        Renderer(WIDTH, HEIGHT, shadows=True, supersample=supersample) as renderer,
        BagWriter(out) as bag,
    ):
        film_moments(bag, renderer, moments, quality=JPEG_QUALITY, doubtful=True, facts=False)

# SPDX-License-Identifier: Apache-2.0
"""What stands where in the hall: plain data, drawn from a seed, no rendering.

The hall is an aisle along +x between two rows of racks. Lengths are metres, angles radians, colours linear RGB in 0..1;
yaw 0 looks along +x, positive yaw turns left (towards +y).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

LOADS = ("acid", "fuel", "gas", "water")
NAMES = ("A", "B", "C", "D")
STATES = ("running", "idle", "fault")
ROLES = ("driver", "fitter", "guest", "medic")
GESTURES = ("no sign", "stop", "come", "go left", "go right")
STATE_COLOURS = {"running": (0.05, 1.0, 0.15), "idle": (1.0, 0.85, 0.05), "fault": (1.0, 0.06, 0.04)}
VESTS = ((1.0, 0.45, 0.05), (0.75, 0.95, 0.1), (0.95, 0.2, 0.5), (0.1, 0.5, 0.95))
HALL_LENGTH = 27.0
HALL_HALF_WIDTH = 4.6
AISLE_HALF_WIDTH = 3.0
BAYS = 8
BAY = 3.2
FIRST_BAY = 0.6  # x where the racks begin
HORIZONTAL_FOV = math.radians(70.0)

Rgb = tuple[float, float, float]
Look = Literal["train", "val", "test"]  # disjoint textures and colours


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the robot's camera is and looks; pitch is positive downwards."""

    x: float
    y: float
    z: float = 1.15
    yaw: float = 0.0
    pitch: float = 0.03


@dataclass(frozen=True, slots=True)
class Person:
    """A gesture is for the camera: "go left" points to the image's left if the person faces it."""

    x: float
    y: float
    yaw: float = 0.0
    vest: Rgb = VESTS[0]
    trousers: Rgb = (0.12, 0.14, 0.25)
    phase: float = 0.0  # of the gait, radians
    role: str = "guest"
    gesture: str = "no sign"
    badge: Rgb = (1.0, 1.0, 1.0)
    gloves: Rgb = (0.95, 1.0, 0.35)


@dataclass(frozen=True, slots=True)
class Cart:
    x: float
    y: float
    yaw: float = 0.0
    load: str = "water"
    body: Rgb = (0.15, 0.3, 0.55)
    crate: Rgb = (0.5, 0.36, 0.22)
    placard: Rgb = (1.0, 1.0, 1.0)
    cabin: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """yaw is where its front, with the plate, looks."""

    x: float
    y: float
    yaw: float = math.pi
    name: str = "A"
    state: str = "running"
    body: Rgb = (0.45, 0.5, 0.52)


@dataclass(frozen=True, slots=True)
class Hall:
    """Everything that no question asks about; `decor` seeds what stands in the racks."""

    decor: int = 0
    floor: int = 0
    wall: int = 0
    floor_tint: Rgb = (0.8, 0.8, 0.8)
    wall_tint: Rgb = (0.8, 0.8, 0.8)
    ambient: float = 0.4
    sun: float = 0.5
    sun_direction: tuple[float, float, float] = (0.2, 0.1, -1.0)
    warmth: float = 0.0  # -1 bluish .. 1 yellowish
    gates: tuple[int, ...] = ()  # bays without racks, with a gate in the wall on either side


@dataclass(frozen=True, slots=True)
class Scene:
    camera: Camera
    hall: Hall = field(default_factory=Hall)
    person: Person | None = None
    cart: Cart | None = None
    machine: Machine | None = None
    second: Machine | None = None  # has another name than `machine`


def gate_x(bay: int) -> float:
    """Where along the aisle a bay's gate has its middle."""
    return FIRST_BAY + (bay + 0.5) * BAY


def random_hall(rng: np.random.Generator) -> Hall:
    grey = rng.uniform(0.45, 1.0)
    tint = rng.uniform(0.4, 1.0)
    return Hall(
        decor=int(rng.integers(2**31)),
        floor=int(rng.integers(4)),
        wall=int(rng.integers(4)),
        floor_tint=_jitter(rng, (grey, grey, grey), 0.08),
        wall_tint=_jitter(rng, (tint, tint, tint), 0.12),
        ambient=float(rng.uniform(0.32, 0.65)),
        sun=float(rng.uniform(0.3, 0.75)),
        sun_direction=(float(rng.uniform(-0.6, 0.9)), float(rng.uniform(-0.7, 0.7)), -1.0),
        warmth=float(rng.uniform(-1, 1)),
    )


def random_scene(seed: int) -> Scene:
    """A camera pose with up to one person, cart and machine in front of it. The same seed gives the same scene."""
    rng = np.random.default_rng(seed)
    camera = Camera(
        x=float(rng.uniform(0.5, 15.0)),
        y=float(rng.uniform(-1.3, 1.3)),
        z=float(rng.uniform(0.95, 1.35)),
        yaw=float(rng.uniform(-0.22, 0.22)),
        pitch=float(rng.uniform(-0.04, 0.12)),
    )
    taken: list[tuple[float, float, float]] = []
    person = cart = machine = None
    for kind in rng.permutation(3):
        if rng.random() > 0.72:
            continue
        spot = _free_spot(rng, camera, taken, radius=(0.3, 0.75, 0.7)[kind])
        if spot is None:
            continue
        x, y = spot
        towards = math.atan2(camera.y - y, camera.x - x)
        if kind == 0:
            person = random_person(rng, x, y, float(rng.uniform(-math.pi, math.pi)))
        elif kind == 1:
            quarter = math.pi / 2 * int(rng.integers(4))
            cart = random_cart(rng, x, y, towards + quarter + float(rng.uniform(-0.6, 0.6)))
        else:
            machine = random_machine(rng, x, y, towards + float(rng.uniform(-0.65, 0.65)))
    return Scene(camera, random_hall(rng), person, cart, machine)


def random_person(rng: np.random.Generator, x: float, y: float, yaw: float) -> Person:
    vest = VESTS[int(rng.integers(len(VESTS)))]
    return Person(x, y, yaw, _jitter(rng, vest, 0.08), _random_rgb(rng, 0.08, 0.4), float(rng.uniform(0, 6.28)))


def random_cart(rng: np.random.Generator, x: float, y: float, yaw: float, load: str | None = None) -> Cart:
    paper = ((1.0, 1.0, 1.0), (1.0, 0.85, 0.3), (1.0, 0.68, 0.4))[int(rng.integers(3))]
    return Cart(
        x,
        y,
        yaw,
        load or LOADS[int(rng.integers(len(LOADS)))],
        body=_random_rgb(rng, 0.1, 0.75),
        crate=_random_rgb(rng, 0.2, 0.65),
        placard=paper,
        cabin=bool(rng.random() < 0.5),
    )


def random_machine(
    rng: np.random.Generator, x: float, y: float, yaw: float, name: str | None = None, state: str | None = None
) -> Machine:
    return Machine(
        x,
        y,
        yaw,
        name or NAMES[int(rng.integers(len(NAMES)))],
        state or STATES[int(rng.integers(len(STATES)))],
        body=_random_rgb(rng, 0.2, 0.65),
    )


def _free_spot(
    rng: np.random.Generator, camera: Camera, taken: list[tuple[float, float, float]], radius: float
) -> tuple[float, float] | None:
    """A place in the view, in the aisle, that neither touches nor hides what stands there already."""
    for _ in range(30):
        depth = float(rng.uniform(1.7 + radius, 6.4))
        across = float(rng.uniform(-0.88, 0.88)) * depth * math.tan(HORIZONTAL_FOV / 2)
        x = camera.x + depth * math.cos(camera.yaw) - across * math.sin(camera.yaw)
        y = camera.y + depth * math.sin(camera.yaw) + across * math.cos(camera.yaw)
        if abs(y) > AISLE_HALF_WIDTH - 0.4 * radius:
            continue
        bearing = math.atan2(across, depth)
        half = math.atan2(radius, depth)
        if all(abs(bearing - other) > 0.8 * (half + other_half) for other, other_half, _ in taken) and all(
            abs(depth - d) > 0.2 or abs(bearing - b) > half + h for b, h, d in taken
        ):
            taken.append((bearing, half, depth))
            return x, y
    return None


def _random_rgb(rng: np.random.Generator, low: float, high: float) -> Rgb:
    r, g, b = rng.uniform(low, high, 3)
    return float(r), float(g), float(b)


def _jitter(rng: np.random.Generator, rgb: Rgb, by: float) -> Rgb:
    r, g, b = np.clip(np.asarray(rgb) + rng.uniform(-by, by, 3), 0.0, 1.0)
    return float(r), float(g), float(b)

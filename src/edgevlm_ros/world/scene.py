# SPDX-License-Identifier: Apache-2.0
"""What stands where in the hall: plain data, drawn from a seed, no rendering.

The hall is an aisle along +x between two rows of racks. Lengths are metres, angles radians, colours linear RGB in 0..1;
yaw 0 looks along +x, positive yaw turns left (towards +y).
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

LOADS = ("acid", "fuel", "gas", "water")
NAMES = ("A", "B", "C", "D")
STATES = ("running", "idle", "fault")
ROLES = ("driver", "fitter", "guest", "medic")
GESTURES = ("no sign", "stop", "come", "go left", "go right")
STATE_COLOURS = {"running": (0.05, 1.0, 0.15), "idle": (1.0, 0.85, 0.05), "fault": (1.0, 0.06, 0.04)}
PAPERS = ((1.0, 1.0, 1.0), (1.0, 0.85, 0.3), (1.0, 0.68, 0.4))
GLOVES = ((0.95, 1.0, 0.35), (1.0, 1.0, 1.0), (1.0, 0.75, 0.2))
HALL_LENGTH = 27.0
HALL_HALF_WIDTH = 4.6
RACKS = 3.3  # |y| where they begin
BAYS = 8
BAY = 3.2
FIRST_BAY = 0.6  # x where the racks begin
HORIZONTAL_FOV = math.radians(70.0)

Rgb = tuple[float, float, float]
Look = Literal["train", "val", "test"]

# Of a 320x240 frame: median height and spread (of its logarithm) of a sign, pixels; focal length, pixels.
SIGN_PIXELS = (34.0, 0.28)
FOCAL = 160 / math.tan(HORIZONTAL_FOV / 2)
# Height of person's, cart's and machine's sign and how far in front of the middle it is, metres.
SIGNS = ((0.40, 0.18), (0.52, 0.42), (0.52, 0.37))
FACING = math.radians(35.0)  # a person turned away less than this faces the camera
SIGNING = 0.45  # share of persons who give a sign, all facing the camera
CROWDED = 0.25  # share of scenes in which things may hide parts of each other


@dataclass(frozen=True, slots=True)
class Style:
    """What a look may be made of: no two looks share a texture or a hue (twelfths of the circle)."""

    textures: tuple[int, ...]
    hues: tuple[int, ...]
    ambient: tuple[float, float]
    sun: tuple[float, float]
    warmth: tuple[float, float]


STYLES: dict[Look, Style] = {
    "train": Style((0, 1, 2, 3), (0, 1, 3, 4, 6, 7, 9, 10), (0.32, 0.65), (0.3, 0.75), (-1.0, 1.0)),
    "val": Style((4, 5), (2, 8), (0.36, 0.7), (0.25, 0.65), (-0.8, 1.2)),
    "test": Style((6, 7), (5, 11), (0.28, 0.6), (0.35, 0.85), (-1.2, 0.8)),
}


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
    vest: Rgb = (1.0, 0.45, 0.05)
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
    rack: Rgb = (0.2, 0.35, 0.6)
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


def random_hall(rng: np.random.Generator, look: Look = "train") -> Hall:
    style = STYLES[look]
    grey = rng.uniform(0.45, 1.0)
    tint = rng.uniform(0.4, 1.0)
    return Hall(
        decor=int(rng.integers(2**31)),
        floor=int(rng.choice(style.textures)),
        wall=int(rng.choice(style.textures)),
        floor_tint=_jitter(rng, (grey, grey, grey), 0.08),
        wall_tint=_jitter(rng, (tint, tint, tint), 0.12),
        rack=_paint(rng, style, (0.2, 0.7), (0.2, 0.7)),
        ambient=float(rng.uniform(*style.ambient)),
        sun=float(rng.uniform(*style.sun)),
        sun_direction=(float(rng.uniform(-0.6, 0.9)), float(rng.uniform(-0.7, 0.7)), -1.0),
        warmth=float(rng.uniform(*style.warmth)),
    )


def random_scene(seed: int, look: Look = "train") -> Scene:
    """A camera pose with up to one person, one cart and two machines in front of it.

    Distances are drawn so that the signs are as high in the image as SIGN_PIXELS says: near enough for the fine eye,
    mostly too far for the coarse one. The same seed gives the same scene.
    """
    rng = np.random.default_rng(seed)
    camera = Camera(
        x=float(rng.uniform(0.5, 15.0)),
        y=float(rng.uniform(-1.3, 1.3)),
        z=float(rng.uniform(0.95, 1.35)),
        yaw=float(rng.uniform(-0.22, 0.22)),
        pitch=float(rng.uniform(-0.04, 0.12)),
    )
    hall = random_hall(rng, look)
    signs = bool(rng.random() < SIGNING)
    gesture = GESTURES[int(rng.integers(1, len(GESTURES)))] if signs else GESTURES[0]
    person = random_person(rng, 0, 0, 0, gesture=gesture, look=look)
    cart = random_cart(rng, 0, 0, 0, look=look)
    machine = random_machine(rng, 0, 0, 0, look=look)
    second = random_machine(rng, 0, 0, 0, look=look)
    faces = signs or bool(rng.random() < 0.27)
    pair = bool(rng.random() < 0.5)
    if second.name == machine.name:
        second = replace(second, name=NAMES[(NAMES.index(machine.name) + int(rng.integers(1, 4))) % len(NAMES)])
    wanted = [kind for kind, share in enumerate((0.66, 0.66, 0.67)) if rng.random() < share]
    radius = (0.95 if signs else 0.35, 0.7, 1.25 if pair else 0.55)
    spots: dict[int, Spot] = {}
    for _ in range(40):
        spots = _spots(rng, camera, {kind: radius[kind] for kind in rng.permutation(wanted).tolist()})
        if len(spots) == len(wanted):
            break
    if 0 in spots:
        spot = spots[0]
        turn = rng.uniform(-FACING, FACING) if faces else rng.uniform(FACING, 2 * math.pi - FACING)
        person = replace(person, x=spot.x, y=spot.y, yaw=spot.towards + float(turn))
    if 1 in spots:
        spot = spots[1]
        quarter = math.pi / 2 * int(rng.integers(4))
        cart = replace(cart, x=spot.x, y=spot.y, yaw=spot.towards + quarter + float(rng.uniform(-0.6, 0.6)))
    if 2 in spots:
        spot = spots[2]
        yaw = spot.towards + float(rng.uniform(-0.5, 0.5) if pair else rng.uniform(-0.65, 0.65))
        apart = float(rng.uniform(1.15, 1.4)) / 2 * (1 if rng.random() < 0.5 else -1) if pair else 0.0
        machine = replace(machine, x=spot.x - apart * math.sin(yaw), y=spot.y + apart * math.cos(yaw), yaw=yaw)
        beside = yaw + float(rng.uniform(-0.15, 0.15))
        second = replace(second, x=spot.x + apart * math.sin(yaw), y=spot.y - apart * math.cos(yaw), yaw=beside)
    return Scene(
        camera,
        hall,
        person if 0 in spots else None,
        cart if 1 in spots else None,
        machine if 2 in spots else None,
        second if 2 in spots and pair else None,
    )


def random_person(
    rng: np.random.Generator,
    x: float,
    y: float,
    yaw: float,
    role: str | None = None,
    gesture: str = GESTURES[0],
    look: Look = "train",
) -> Person:
    style = STYLES[look]
    return Person(
        x,
        y,
        yaw,
        vest=_paint(rng, style, (0.75, 0.97), (0.8, 1.0)),
        trousers=_paint(rng, style, (0.2, 0.8), (0.1, 0.42)),
        phase=float(rng.uniform(0, 6.28)),
        role=role or ROLES[int(rng.integers(len(ROLES)))],
        gesture=gesture,
        badge=_paper(rng),
        gloves=_jitter(rng, GLOVES[int(rng.integers(len(GLOVES)))], 0.06),
    )


def random_cart(
    rng: np.random.Generator, x: float, y: float, yaw: float, load: str | None = None, look: Look = "train"
) -> Cart:
    style = STYLES[look]
    return Cart(
        x,
        y,
        yaw,
        load or LOADS[int(rng.integers(len(LOADS)))],
        body=_paint(rng, style, (0.25, 0.9), (0.2, 0.75)),
        crate=_paint(rng, style, (0.2, 0.7), (0.25, 0.65)),
        placard=_paper(rng),
        cabin=bool(rng.random() < 0.5),
    )


def random_machine(
    rng: np.random.Generator,
    x: float,
    y: float,
    yaw: float,
    name: str | None = None,
    look: Look = "train",
) -> Machine:
    return Machine(
        x,
        y,
        yaw,
        name or NAMES[int(rng.integers(len(NAMES)))],
        STATES[int(rng.integers(len(STATES)))],
        body=_paint(rng, STYLES[look], (0.15, 0.6), (0.25, 0.65)),
    )


@dataclass(frozen=True, slots=True)
class Spot:
    """A free place; towards: the yaw that looks at the camera from there."""

    x: float
    y: float
    towards: float
    bearing: float
    half: float  # angle that the thing covers to either side
    depth: float


def _spots(rng: np.random.Generator, camera: Camera, radii: dict[int, float]) -> dict[int, Spot]:
    """Places for things 0 (person), 1 (cart) and 2 (machines), of which few hide parts of another."""
    spots: dict[int, Spot] = {}
    crowding = 0.55 if rng.random() < CROWDED else 0.95
    for kind, radius in radii.items():
        spot = _free_spot(rng, camera, list(spots.values()), radius, SIGNS[kind], crowding)
        if spot is not None:
            spots[kind] = spot
    return spots


def _free_spot(
    rng: np.random.Generator,
    camera: Camera,
    taken: list[Spot],
    radius: float,
    sign: tuple[float, float],
    crowding: float,
) -> Spot | None:
    """A place in a third of the view drawn beforehand, in the aisle, mostly whole in the frame.

    sign: height and distance in front of the middle, metres. crowding: share of the two half widths to keep apart.
    """
    third = int(rng.integers(3))
    tangent = math.tan(HORIZONTAL_FOV / 2)
    for _ in range(30):
        pixels = math.exp(rng.normal(math.log(SIGN_PIXELS[0]), SIGN_PIXELS[1]))
        depth = FOCAL * sign[0] / pixels + sign[1]
        across = (1 - 2 * (third + float(rng.random())) / 3) * depth * tangent
        if abs(across) > depth * tangent - float(rng.uniform(0.75, 1.1)) * radius:
            continue
        x = camera.x + depth * math.cos(camera.yaw) - across * math.sin(camera.yaw)
        y = camera.y + depth * math.sin(camera.yaw) + across * math.cos(camera.yaw)
        if abs(y) > RACKS - radius:
            continue
        bearing, half = math.atan2(across, depth), math.atan2(radius, depth)
        if all(abs(bearing - other.bearing) > crowding * (half + other.half) for other in taken) and all(
            math.hypot(x - other.x, y - other.y) > radius + other.depth * math.tan(other.half) * 0.9 for other in taken
        ):
            return Spot(x, y, math.atan2(camera.y - y, camera.x - x), bearing, half, depth)
    return None


def _paint(rng: np.random.Generator, style: Style, saturation: tuple[float, float], value: tuple[float, float]) -> Rgb:
    """A colour of the look's own hues."""
    hue = (float(rng.choice(style.hues)) + float(rng.uniform(0.1, 0.9))) / 12
    return colorsys.hsv_to_rgb(hue, float(rng.uniform(*saturation)), float(rng.uniform(*value)))


def _paper(rng: np.random.Generator) -> Rgb:
    return PAPERS[int(rng.integers(len(PAPERS)))]


def _jitter(rng: np.random.Generator, rgb: Rgb, by: float) -> Rgb:
    r, g, b = np.clip(np.asarray(rgb) + rng.uniform(-by, by, 3), 0.0, 1.0)
    return float(r), float(g), float(b)

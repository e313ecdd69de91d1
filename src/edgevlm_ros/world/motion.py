# SPDX-License-Identifier: Apache-2.0
"""How things and the robot of a stream move: functions of the time, drawn from a generator beforehand.

A stream's scenes can so be had at any time, in any order and without rendering. Times are seconds since the beginning.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgevlm_ros.world.scene import BAY, BAYS, FIRST_BAY, FOCAL, HORIZONTAL_FOV, Camera, Hall, Rgb

Curve = Callable[[float], float]
TANGENT = math.tan(HORIZONTAL_FOV / 2)  # half the view's width at a depth of one
OUTSIDE = 5.6  # |y| behind the walls, where things come from and go to
SHORTEST_EXPOSURE, LONGEST_EXPOSURE = 1 / 60, 1 / 20  # seconds, in the brightest and in the darkest hall


@dataclass(frozen=True, slots=True)
class Steps:
    """What holds from when on. times: ascending; before the first one the first value holds."""

    times: tuple[float, ...]
    values: tuple[str, ...]

    def __call__(self, t: float) -> str:
        return self.values[max(0, bisect_right(self.times, t) - 1)]


@dataclass(frozen=True, slots=True)
class Glide:
    """Goes from value to value, smoothly and at about the same speed each time, and rests in between.

    times: when it sets out for each value; before the first one it is there already. speed: value per second, on the
    way; it never takes longer than until it sets out again, but at least `least` seconds.
    """

    times: tuple[float, ...]
    values: tuple[float, ...]
    speed: float
    least: float = 0.4

    def __call__(self, t: float) -> float:
        k = bisect_right(self.times, t) - 1
        if k <= 0:
            return self.values[0]
        start, end = self.values[k - 1], self.values[k]
        takes = max(self.least, abs(end - start) / self.speed)
        if k + 1 < len(self.times):
            takes = min(takes, self.times[k + 1] - self.times[k])
        done = min(1.0, (t - self.times[k]) / takes)
        return start + (end - start) * done * done * (3 - 2 * done)

    def rate(self, t: float) -> float:
        """Value per second."""
        return (self(t + 0.05) - self(t - 0.05)) / 0.1


def spells(rng: np.random.Generator, start: float, end: float, low: float, high: float) -> tuple[float, ...]:
    """Times from start on, `low` to `high` seconds apart; none but the start is nearer than `low` to the end."""
    times = [start]
    while times[-1] <= end - low:
        times.append(times[-1] + float(rng.uniform(low, high)))
    return tuple(times[:-1]) or (start,)


def changing(rng: np.random.Generator, times: Sequence[float], values: Sequence[str]) -> Steps:
    """At each of the times another one of the values."""
    chosen: list[str] = []
    for _ in times:
        others = [value for value in values if not chosen or value != chosen[-1]]
        chosen.append(others[int(rng.integers(len(others)))])
    return Steps(tuple(times), tuple(chosen))


def visits(
    rng: np.random.Generator, seconds: float, stay: tuple[float, float], gap: tuple[float, float]
) -> list[tuple[float, float]]:
    """From when to when somebody is there, one after the other, over the whole of a stream that begins amidst it all.

    stay, gap: shortest and longest, seconds; the shares of short and long ones are about equal.
    """
    t = float(rng.uniform(-0.6 * stay[1], gap[1] / 2))
    found = []
    while t < seconds:
        end = t + _between(rng, stay)
        if end > 1.0:
            found.append((t, end))
        t = end + _between(rng, gap)
    return found


def _between(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1]))))


def calling(
    rng: np.random.Generator,
    start: float,
    end: float,
    sets_out: Sequence[float],
    places: Sequence[float],
    *,
    comes: float,
    speed: float,
) -> Glide:
    """y of somebody who comes from behind a wall at `start`, goes from place to place and is behind a wall at `end`.

    sets_out: when for each of the places; the first one is `start`. comes: seconds that the way out takes.
    """
    come, go = (OUTSIDE if rng.random() < 0.5 else -OUTSIDE for _ in range(2))
    return Glide((start - 1.0, *sets_out, end - comes), (come, *places, go), speed)


def added(a: Curve, b: Curve) -> Curve:
    return lambda t: a(t) + b(t)


def sway(rng: np.random.Generator, amplitude: float, low: float, high: float) -> Curve:
    """A restless curve around 0 out of three sines of `low` to `high` hertz."""
    waves = [(2 * math.pi * float(rng.uniform(low, high)), float(rng.uniform(0, 2 * math.pi))) for _ in range(3)]
    return lambda t: amplitude / 2 * sum(math.sin(speed * t + phase) for speed, phase in waves)


def drive(rng: np.random.Generator, start: float, seconds: float, fastest: float) -> Curve:
    """x of a robot that drives on at 0 to `fastest` m/s, another speed every few seconds."""
    times = spells(rng, 0.0, seconds, 4.0, 10.0)
    speeds = [0.0 if rng.random() < 0.25 else float(rng.uniform(0.2, 1.0)) * fastest for _ in times]
    ends = [*times[1:], seconds + 10.0]
    places = start + np.cumsum([0.0, *(v * (end - begin) for v, begin, end in zip(speeds, times, ends, strict=True))])
    return lambda t: float(np.interp(t, [times[0], *ends], places))


@dataclass(frozen=True, slots=True)
class Ego:
    """The robot's camera: where it drives and looks, and how it shakes."""

    x: Curve
    y: Curve
    yaw: Curve
    z: float
    pitch: float
    shake: tuple[Curve, Curve, Curve]  # of z in metres, of yaw and pitch in radians
    exposure: float  # seconds
    gains: tuple[Curve, Curve]  # of the sensor: logarithm of its gain, and of red over blue

    def camera(self, t: float) -> Camera:
        z, yaw, pitch = (curve(t) for curve in self.shake)
        return Camera(self.x(t), self.y(t), self.z + z, self.yaw(t) + yaw, self.pitch + pitch)

    def sweep(self, t: float) -> tuple[float, float]:
        """Pixels right and down that a 320x240 image moves while the shutter is open, from the camera's turning."""
        before, after = self.camera(t), self.camera(t + self.exposure)
        return FOCAL * (after.yaw - before.yaw), -FOCAL * (after.pitch - before.pitch)

    def gain(self, t: float) -> Rgb:
        """What the sensor multiplies the colours with."""
        gain, warm = (curve(t) for curve in self.gains)
        return math.exp(gain + warm / 2), math.exp(gain), math.exp(gain - warm / 2)


def random_ego(rng: np.random.Generator, hall: Hall, x: Curve, y: Curve, yaw: Curve) -> Ego:
    """Dark halls need long exposures, bad floors shake."""
    rough = float(rng.uniform(0.3, 1.5))
    dark = np.clip((1.3 - hall.ambient - hall.sun) / 0.6, 0.0, 1.0)
    offset = float(rng.uniform(-0.12, 0.12))
    drift = sway(rng, 0.08, 0.02, 0.3)
    return Ego(
        x,
        y,
        yaw,
        z=float(rng.uniform(1.05, 1.25)),
        pitch=float(rng.uniform(0.0, 0.06)),
        shake=(
            sway(rng, 0.008 * rough, 0.8, 2.5),
            sway(rng, 0.009 * rough, 0.5, 2.2),
            sway(rng, 0.007 * rough, 0.8, 2.5),
        ),
        exposure=float(SHORTEST_EXPOSURE + dark * (LONGEST_EXPOSURE - SHORTEST_EXPOSURE)),
        gains=(lambda t: offset + drift(t), sway(rng, 0.08, 0.02, 0.2)),
    )


def bays_at(places: Sequence[float]) -> tuple[int, ...]:
    """The bays that must have gates for things to come and go at these x, metres."""
    bays = {math.floor((x - FIRST_BAY) / BAY) for x in places}
    return tuple(sorted(bay for bay in bays if 0 <= bay < BAYS))

# SPDX-License-Identifier: Apache-2.0
"""Streams of people who cross and pace before the robot: who is it, and where?

One and the same person is there for long, known by the badge on chest and back; the third of the image that it is in
changes at every other step.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count

import numpy as np

from edgevlm_ros.world import questions as q
from edgevlm_ros.world.motion import TANGENT, Glide, added, bays_at, calling, drive, random_ego, spells, sway, visits
from edgevlm_ros.world.scene import ROLES, Look, random_hall, random_person
from edgevlm_ros.world.stage import Actor, Play, facing, passing_carts, standing_machines

STAY, GAP = (10.0, 50.0), (2.5, 13.0)  # seconds that a person is there, and that nobody is
PACE = (1.0, 3.0)  # seconds in one third, in a stream of pace 1
COMES = 2.6  # seconds from behind the wall to the middle
THIRDS = (-2 / 3, 0.0, 2 / 3)  # their middles, in half widths of the image


def script(rng: np.random.Generator, look: Look, seconds: float) -> Play:
    hall = random_hall(rng, look)
    pace = math.exp(float(rng.uniform(0.0, 0.9)))
    x = drive(rng, float(rng.uniform(0.8, 8.0)), seconds, float(rng.uniform(0.02, 0.12)))
    turns = spells(rng, 0.0, seconds, 3.0, 9.0)
    yaw = Glide(turns, tuple(float(rng.uniform(-0.1, 0.1)) for _ in turns), speed=0.12)
    ego = random_ego(rng, hall, x, sway(rng, 0.2, 0.02, 0.06), yaw)
    numbers = count(1)
    actors: list[Actor] = []
    doors: list[float] = []
    role = ""
    for start, end in visits(rng, seconds, STAY, GAP):
        role = str(rng.choice([other for other in ROLES if other != role]))
        times = spells(rng, start - 8.0, end + 8.0, 4.0, 10.0)
        depth = Glide(times, tuple(float(rng.uniform(2.1, 3.9)) for _ in times), speed=0.5)
        sets_out = (start, *spells(rng, start + COMES, end - COMES, *(pace * s for s in PACE)))
        third, places = -1, []
        for t in sets_out:
            third = int(rng.choice([other for other in range(3) if other != third]))
            places.append((THIRDS[third] + float(rng.uniform(-0.1, 0.1))) * TANGENT * depth(t))
        across = calling(rng, start, end, sets_out, places, comes=COMES, speed=float(rng.uniform(1.1, 1.8)))
        turns = spells(rng, start - 6.0, end, 5.0, 14.0)
        front = float(rng.integers(2))
        turned = Glide(turns, tuple(math.pi * ((front + k) % 2) for k in range(len(turns))), speed=5.0)
        person = random_person(rng, 0, 0, 0, role, look=look)
        doors += [x(t) + depth(t) for t in (start + 1.0, end - 1.0) if 0.0 < t < seconds]
        pose = facing(person, ego, added(x, depth), added(ego.y, across), turned, lean=0.5)
        actors.append(Actor("person", next(numbers), start, end, pose))
    actors += passing_carts(rng, look, ego, seconds, numbers, depths=(1.7, 5.2, 7.0))
    actors += standing_machines(rng, look, seconds, numbers, places=(x(0) + 2.2, x(0) + 6.5, x(0) + 11.0))
    return Play(q.CROSSING, replace(hall, gates=bays_at(doors)), ego, tuple(actors))

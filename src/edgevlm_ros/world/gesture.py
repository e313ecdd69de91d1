# SPDX-License-Identifier: Apache-2.0
"""Streams of a worker who signs to the robot: who is it, and which sign?

The worker stays, the sign changes every few seconds: an old answer tells whose word it is, not what to do now.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count

import numpy as np

from edgevlm_ros.world import questions as q
from edgevlm_ros.world.motion import (
    TANGENT,
    Glide,
    added,
    bays_at,
    calling,
    changing,
    drive,
    random_ego,
    spells,
    sway,
    visits,
)
from edgevlm_ros.world.scene import GESTURES, ROLES, Look, random_hall, random_person
from edgevlm_ros.world.stage import Actor, Play, facing, passing_carts, signing, standing_machines

STAY, GAP = (10.0, 50.0), (2.5, 13.0)  # seconds that a worker is there, and that nobody is
SIGN = (1.0, 4.0)  # seconds that a sign is held, in a stream of pace 1
COMES = 3.2  # seconds from behind the wall to the middle
SPAN = 1.05  # metres from the middle to where a stretched arm ends


def script(rng: np.random.Generator, look: Look, seconds: float) -> Play:
    hall = random_hall(rng, look)
    pace = math.exp(float(rng.uniform(-0.5, 0.5)))
    x = drive(rng, float(rng.uniform(0.8, 8.0)), seconds, float(rng.uniform(0.02, 0.12)))
    turns = spells(rng, 0.0, seconds, 3.0, 9.0)
    yaw = Glide(turns, tuple(float(rng.uniform(-0.06, 0.06)) for _ in turns), speed=0.1)
    ego = random_ego(rng, hall, x, sway(rng, 0.2, 0.02, 0.06), yaw)
    numbers = count(1)
    actors: list[Actor] = []
    doors: list[float] = []
    role = ""
    for start, end in visits(rng, seconds, STAY, GAP):
        role = str(rng.choice([other for other in ROLES if other != role]))
        times = spells(rng, start - 8.0, end + 8.0, 4.0, 10.0)
        depth = Glide(times, tuple(float(rng.uniform(2.1, 3.9)) for _ in times), speed=0.6)
        sets_out = (start, *spells(rng, start + COMES + 1.0, end - COMES, 4.0, 11.0))
        places = [float(rng.uniform(-1, 1)) * (TANGENT * depth(t) - SPAN - 0.08 * depth(t)) for t in sets_out]
        across = calling(rng, start, end, sets_out, places, comes=COMES, speed=float(rng.uniform(1.2, 1.8)))
        person = random_person(rng, 0, 0, 0, role, look=look)
        signs = changing(rng, spells(rng, start, end, *(pace * s for s in SIGN)), GESTURES)
        doors += [x(t) + depth(t) for t in (start + 1.0, end - 1.0) if 0.0 < t < seconds]
        stands = facing(person, ego, added(x, depth), added(ego.y, across), sway(rng, 0.25, 0.05, 0.3), lean=0.3)
        pose = signing(stands, signs)
        actors.append(Actor("person", next(numbers), start, end, pose))
    actors += passing_carts(rng, look, ego, seconds, numbers, depths=(1.6, 5.2, 7.0))
    actors += standing_machines(rng, look, seconds, numbers, places=(x(0) + 5.0, x(0) + 9.0, x(0) + 13.0))
    return Play(q.GESTURE, replace(hall, gates=bays_at(doors)), ego, tuple(actors))

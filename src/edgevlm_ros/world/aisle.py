# SPDX-License-Identifier: Apache-2.0
"""Streams of a robot that follows carts through an aisle: what do they carry, and on which side is room to pass?

A cart stays ahead for long, so its load is worth telling late; it and the robot weave, so the side is not.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count

import numpy as np

from edgevlm_ros.world import questions as q
from edgevlm_ros.world.motion import TANGENT, Glide, added, bays_at, calling, drive, random_ego, spells, sway, visits
from edgevlm_ros.world.scene import LOADS, Look, random_cart, random_hall
from edgevlm_ros.world.stage import Actor, Play, driven, passing_persons, standing_machines

STAY, GAP = (10.0, 50.0), (2.5, 13.0)  # seconds that a cart is ahead, and that the way is free
WEAVE = (1.5, 5.0)  # seconds on one side, in a stream of pace 1
COMES = 2.6  # seconds from behind the wall to the middle


def script(rng: np.random.Generator, look: Look, seconds: float) -> Play:
    hall = random_hall(rng, look)
    pace = math.exp(float(rng.uniform(-0.5, 0.5)))
    x = drive(rng, float(rng.uniform(0.8, 2.0)), seconds, float(rng.uniform(0.1, 0.5)))
    turns = spells(rng, 0.0, seconds, 2.0 * pace, 6.0 * pace)
    yaw = Glide(turns, tuple(float(rng.uniform(-0.1, 0.1)) for _ in turns), speed=0.12)
    ego = random_ego(rng, hall, x, sway(rng, 0.25, 0.02, 0.08), yaw)
    numbers = count(1)
    actors: list[Actor] = []
    doors: list[float] = []
    load = ""
    for start, end in visits(rng, seconds, STAY, GAP):
        load = str(rng.choice([other for other in LOADS if other != load]))
        times = spells(rng, start - 8.0, end + 8.0, 4.0, 12.0)
        depth = Glide(times, tuple(float(rng.uniform(2.6, 4.9)) for _ in times), speed=0.5)
        sets_out = (start, *spells(rng, start + COMES, end - COMES, *(pace * s for s in WEAVE)))
        left = 1.0 if rng.random() < 0.5 else -1.0
        places = [left * (-1) ** k * float(rng.uniform(0.2, 0.45)) * TANGENT * depth(t) for k, t in enumerate(sets_out)]
        across = calling(rng, start, end, sets_out, places, comes=COMES, speed=float(rng.uniform(1.6, 2.3)))
        quarter = int(rng.choice(4, p=(0.55, 0.15, 0.15, 0.15)))
        cart = random_cart(rng, 0, 0, quarter * math.pi / 2 + float(rng.uniform(-0.3, 0.3)), load, look)
        cart = replace(cart, cabin=cart.cabin and quarter == 0)  # a cabin hides what is behind it
        doors += [x(t) + depth(t) for t in (start + 1.0, end - 1.0) if 0.0 < t < seconds]
        pose = driven(cart, added(x, depth), added(ego.y, across))
        actors.append(Actor("cart", next(numbers), start, end, pose))
    actors += passing_persons(rng, look, ego, seconds, numbers, depths=(1.9, 6.5, 8.0))
    actors += standing_machines(rng, look, seconds, numbers, places=(9.5, 15.5, 21.5))
    return Play(q.AISLE, replace(hall, gates=bays_at(doors)), ego, tuple(actors))

# SPDX-License-Identifier: Apache-2.0
"""Streams of a robot that inspects: what is the state of the machine with a given letter?

Two machines are in view most of the time and look much alike: only the letters tell which lamp is meant. Now and then
the camera turns away to two others, or so far that one of the two is out of view.
"""

from __future__ import annotations

import math
from itertools import count

import numpy as np

from edgevlm_ros.world import questions as q
from edgevlm_ros.world.motion import Glide, changing, random_ego, spells, sway
from edgevlm_ros.world.scene import NAMES, STATES, Look, random_hall, random_machine
from edgevlm_ros.world.stage import Actor, Play, passing_persons, running

BOTH = (12.0, 45.0)  # seconds that the camera stays on the two
ELSEWHERE = (5.0, 14.0)  # seconds that it looks away from at least one of them
LAMP = (1.5, 6.0)  # seconds that a lamp stays as it is, in a stream of pace 1
WALL = 2.5  # |y| of the machines at the wall
PAST = 0.33  # radians


def script(rng: np.random.Generator, look: Look, seconds: float) -> Play:
    hall = random_hall(rng, look)
    pace = math.exp(float(rng.uniform(-0.4, 0.6)))
    side = 1.0 if rng.random() < 0.5 else -1.0  # of the two that are looked at most; the others are to the other side
    x0, y0 = float(rng.uniform(4.0, 14.0)), side * float(rng.uniform(0.5, 1.0))
    ahead = side * float(rng.uniform(0.0, 0.2))
    half = float(rng.uniform(0.27, 0.33))
    others = ahead - side * float(rng.uniform(1.76, 1.84))
    # Who shares a place in the scene is never in view together: inner with outer ones.
    bearings = {
        "machine": (ahead - side * half, others - side * 0.25),
        "second": (ahead + side * half, others + side * 0.25),
    }
    names = dict(zip(("machine", "second"), np.split(rng.permutation(NAMES), 2), strict=True))
    asked, other = ("machine", "second") if rng.random() < 0.5 else ("second", "machine")
    numbers = count(1)
    actors: list[Actor] = []
    for subject, pair in bearings.items():
        for bearing, name in zip(pair, names[subject], strict=True):
            sine = math.sin(bearing)
            room = (WALL - math.copysign(1.0, sine) * y0) / max(1e-3, abs(sine))
            distance = min(float(rng.uniform(3.3, 5.0)), room)
            x, y = x0 + distance * math.cos(bearing), y0 + distance * math.sin(bearing)
            yaw = bearing + math.pi + float(rng.uniform(-0.35, 0.35))
            machine = random_machine(rng, x, y, yaw, str(name), look=look)
            state = changing(rng, spells(rng, 0.0, seconds, *(pace * s for s in LAMP)), STATES)
            actors.append(Actor(subject, next(numbers), 0.0, seconds, running(machine, state)))
    alone = {  # looks past the one, so far that the other is out of view and no third is in it
        subject: bearings[subject][0] + math.copysign(PAST, bearings[subject][0] - bearings[gone][0])
        for subject, gone in (("machine", "second"), ("second", "machine"))
    }
    times, gazes = [-1.0], [ahead]
    t = float(rng.uniform(-10.0, 12.0))
    while t < seconds:
        times += [t]
        gazes += [float(rng.choice((others, alone[other], alone[asked]), p=(0.45, 0.3, 0.25)))]
        t += math.exp(float(rng.uniform(*np.log(ELSEWHERE))))
        times += [t]
        gazes += [ahead]
        t += math.exp(float(rng.uniform(*np.log(BOTH))))
    gaze = Glide(tuple(times), tuple(gazes), speed=float(rng.uniform(0.5, 0.9)))
    wander = sway(rng, 0.05, 0.03, 0.15)
    stroll = sway(rng, 0.18, 0.02, 0.06), sway(rng, 0.1, 0.02, 0.06)
    ego = random_ego(rng, hall, lambda t: x0 + stroll[0](t), lambda t: y0 + stroll[1](t), lambda t: gaze(t) + wander(t))
    actors += passing_persons(rng, look, ego, seconds, numbers, depths=(1.9, 5.5))
    return Play(q.panel(str(names[asked][0])), hall, ego, tuple(actors))

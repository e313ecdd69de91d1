# SPDX-License-Identifier: Apache-2.0
"""Simulated robots that share one server, and how long each waits for its replies.

A robot here is what a server sees of one: the bridge's own client and its own selection of keyframes, by their period,
behind a camera that plays a bag. How many of them a server bears is measured, before a fleet finds it out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgevlm_ros.cloud.client import CloudClient
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.cloud.selection import Rule, Selection
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.transfer.types import Status

Connect = Callable[[], CloudClient]
"""Makes one robot's way to the server."""

_QUESTION_ID = 1  # one that stands: a new one would be a reason of its own
_FAILURES = 3  # in a row
_SPREAD = 7919  # frames between the beginnings of two robots: a prime, so that no two see the same


@dataclass(frozen=True, slots=True)
class View:
    """What a robot may send: a keyframe and the question about it."""

    upload: Upload
    question: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """robots: how many. period: seconds between two keyframes of one. seconds: of the run.

    max_in_flight: keyframes of one robot that may wait at once. frame_period: seconds between two frames of a camera.
    """

    robots: int
    period: float
    seconds: float
    max_in_flight: int = 2
    frame_period: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One keyframe that was sent. sent: seconds since the run began. delay: seconds until it came back."""

    robot: int
    sent: float
    delay: float
    status: Status
    error: str


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a fleet. late: keyframes that had to wait for room in flight, or never left."""

    fleet: Fleet
    requests: tuple[Request, ...]
    late: int


def views(stream: Stream) -> list[View]:
    """The frames of a bag about which something is asked."""
    asked = ((stamp, stream.question_at(stamp)) for stamp in stream.stamps)
    return [View(stream.upload(stamp), question.text) for stamp, question in asked if question is not None]


async def drive(fleet: Fleet, connect: Connect, seen: Sequence[View]) -> Run:
    """Run a fleet to its end, and wait for the last reply."""
    began = asyncio.get_running_loop().time()
    chance = random.Random(fleet.seed)
    phases = [chance.uniform(0.0, fleet.period) for _ in range(fleet.robots)]
    robots = [_Robot(number, connect(), fleet, seen, began) for number in range(fleet.robots)]
    await asyncio.gather(*(robot.drive(phase) for robot, phase in zip(robots, phases, strict=True)))
    requests = sorted((request for robot in robots for request in robot.requests), key=lambda request: request.sent)
    return Run(fleet, tuple(requests), sum(robot.late for robot in robots))


async def keep_busy(in_flight: int, seconds: float, connect: Connect, seen: Sequence[View]) -> tuple[Request, ...]:
    """Requests of askers that send their next as soon as a reply is there: what the server can do at most.

    An asker whose requests fail leaves the server alone.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    requests: list[Request] = []

    async def ask_on(number: int) -> None:
        client, at, failed = connect(), number * _SPREAD, 0
        try:
            while loop.time() - began < seconds and failed < _FAILURES:
                request = await _ask(client, number, seen[at % len(seen)], began)
                requests.append(request)
                failed = 0 if request.status is Status.OK else failed + 1
                at += 1
        finally:
            await client.aclose()

    await asyncio.gather(*(ask_on(number) for number in range(in_flight)))
    return tuple(sorted(requests, key=lambda request: request.sent))


class _Robot:
    def __init__(self, number: int, client: CloudClient, fleet: Fleet, seen: Sequence[View], began: float) -> None:
        self.requests: list[Request] = []
        self.late = 0
        self._number = number
        self._client = client
        self._fleet = fleet
        self._seen = seen
        self._began = began
        self._selection = Selection(Rule(period=fleet.period), fleet.max_in_flight)
        self._under_way: set[asyncio.Task[None]] = set()

    async def drive(self, phase: float) -> None:
        """Look at each frame of the camera from `phase` on, and send those that are due."""
        loop = asyncio.get_running_loop()
        frame, waits = 0, False
        try:
            while (at := phase + frame * self._fleet.frame_period) < self._fleet.seconds:
                await asyncio.sleep(self._began + at - loop.time())
                now = loop.time()
                if self._selection.reason(now, _QUESTION_ID, len(self._under_way)):
                    self._selection.sent(now, _QUESTION_ID)
                    self._send(self._seen[(self._number * _SPREAD + frame) % len(self._seen)])
                    waits = False
                elif not waits and self._selection.reason(now, _QUESTION_ID, 0):
                    self.late, waits = self.late + 1, True
                frame += 1
            await asyncio.gather(*self._under_way)
        finally:
            await self._client.aclose()

    def _send(self, view: View) -> None:
        task = asyncio.ensure_future(self._asked(view))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _asked(self, view: View) -> None:
        self.requests.append(await _ask(self._client, self._number, view, self._began))


async def _ask(client: CloudClient, robot: int, view: View, began: float) -> Request:
    loop = asyncio.get_running_loop()
    sent = loop.time()
    result = await client.ask(view.upload, view.question)
    return Request(robot, sent - began, loop.time() - sent, result.status, result.error)

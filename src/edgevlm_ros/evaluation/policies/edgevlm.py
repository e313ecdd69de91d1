# SPDX-License-Identifier: Apache-2.0
"""The method, by the robot's own pipeline: late answers rewrite the history and steer the eyes.

The ablations are the same with one part taken away, or with what the cloud said replaced by something else: if those
helped as much, it would not be the content that helps.
"""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgevlm_ros.cloud.selection import Heard
from edgevlm_ros.evaluation import timings
from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.outcomes import Said
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.simulation import Played, Scene
from edgevlm_ros.evaluation.timeline import Call, Camera
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.transfer.types import Answer, CloudContext, Question, Region, Status

Told = Callable[[Scene, Call, CloudContext], CloudContext]
"""What is told in place of what the cloud said."""


def play(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    return transferred(scene, link, knobs)


def without_replacement(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    return transferred(scene, link, {**knobs, "replacement": {**knobs.get("replacement", {}), "enabled": False}})


def without_focus(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    return transferred(scene, link, {**knobs, "focus": {**knobs.get("focus", {}), "mode": "none"}})


def shuffled(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    return transferred(scene, link, knobs, _of_another_scene)


def random_regions(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    return transferred(scene, link, knobs, _elsewhere)


def transferred(scene: Scene, link: Latency, knobs: Knobs, told: Told | None = None) -> Played:
    """Plays a scene through the pipeline, while the bridge hears its answers.

    knobs: fields of Replacement, of Focus and of the bridge's Rule ("keyframes") that differ from the robot's.
    """
    rule = replace(scene.bridge.keyframes, **knobs.get("keyframes", {}))
    sending = scene.sending(scene.images(link), rule=rule, read=lambda call: text_of(scene, call))
    robot = scene.robot
    pipeline = Pipeline(
        scene.small,
        Question(""),
        replace(robot.replacement, **knobs.get("replacement", {})),
        replace(robot.focus, **knobs.get("focus", {})),
        clock=lambda: 0.0,
    )
    pipeline.choices = robot.choices
    camera, free = Camera(scene.stream.stamps), scene.begin
    outcomes: Counter[str] = Counter()
    said: list[Said] = []
    # what comes back is known to the frames that begin when it has been taken in; what fails at once
    coming: list[tuple[int, int, Call]] = []
    while (taken := camera.take(free)) is not None:
        question = scene.question(taken.start)
        free = taken.start
        if question is None:
            continue
        pipeline.set_question(question)
        for stamp in taken.missed:
            pipeline.notice(scene.frame(stamp))
        for call in sending.until(taken.start):
            heapq.heappush(coming, (known_from(scene, call), call.stamp, call))
        while coming and coming[0][0] <= taken.start:
            call = heapq.heappop(coming)[-1]
            context = context_of(scene, call)
            outcomes[pipeline.on_context(told(scene, call, context) if told else context).value] += 1
        answer = pipeline.on_frame(scene.frame(taken.stamp))
        free = taken.start + scene.cost(kind_of(answer), taken.stamp)
        sending.hear(free, heard_of(answer))
        outcomes["answers with context"] += answer.context is not None
        outcomes["answers with focus"] += answer.focus is not None
        outcomes["answers while suspended"] += answer.suspended
        said.append(Said(free, answer.question, answer.text, taken.stamp))
    sending.until(scene.stream.stamps[-1])
    outcomes.update({f"keyframes: {reason.value}": count for reason, count in sending.reasons.items()})
    return Played(said, sending.calls, outcomes)


def known_from(scene: Scene, call: Call) -> int:
    return call.over + (scene.cost(timings.TAKE_IN, call.stamp) if call.arrival is not None else 0)


def text_of(scene: Scene, call: Call) -> str | None:
    """What the bridge reads in the reply to a call, None if there is none."""
    reply = None if call.arrival is None else scene.reply(call.stamp, call.question)
    return None if reply is None else reply.text


def heard_of(answer: Answer) -> Heard:
    """What the bridge hears of an answer."""
    age = None if answer.context is None else (answer.stamp - answer.context.stamp) * 1e-9
    return Heard(answer.question.id, answer.text, answer.confidence, age, answer.suspended)


def kind_of(answer: Answer) -> str:
    """Which measured time an answer takes."""
    if answer.focus is not None:
        return timings.FOCUSED
    return timings.TOLD if answer.context is not None else timings.EDGE


def context_of(scene: Scene, call: Call) -> CloudContext:
    """What the bridge publishes of a call."""
    nothing = CloudContext(call.stamp, call.number, call.question.id, Status.TIMEOUT)
    if call.arrival is None:
        return nothing
    reply = scene.reply(call.stamp, call.question)
    if reply is None:
        return replace(nothing, status=Status.UNPARSABLE)
    return replace(
        nothing, status=Status.OK, text=reply.text, regions=reply.regions, width=scene.width, height=scene.height
    )


def _of_another_scene(scene: Scene, call: Call, context: CloudContext) -> CloudContext:
    reply = scene.read(scene.strange[call.stamp].text, call.stamp) if call.stamp in scene.strange else None
    if context.status is not Status.OK or reply is None:
        return context
    return replace(context, text=reply.text, regions=reply.regions)


def _elsewhere(scene: Scene, call: Call, context: CloudContext) -> CloudContext:
    """Boxes of the same sizes anywhere on the keyframe."""
    generator = np.random.default_rng([scene.seed, zlib.crc32(scene.stream.name.encode()), call.stamp])

    def moved(region: Region) -> Region:
        width, height = region.x1 - region.x0, region.y1 - region.y0
        x0, y0 = generator.uniform((0, 0), (max(scene.width - width, 0), max(scene.height - height, 0)))
        return replace(region, x0=float(x0), y0=float(y0), x1=float(x0 + width), y1=float(y0 + height))

    return replace(context, regions=tuple(map(moved, context.regions)))


CANDIDATES: tuple[Knobs, ...] = (
    {},
    {"focus": {"crop_margin": 1.0}},
    {"focus": {"crop_margin": 1.4}},
    {"focus": {"half_life": 4.0, "min_confidence": 0.2}},
    {"focus": {"carry": "features"}},
    {"focus": {"mode": "none"}},
    {"focus": {"mode": "attention+crop"}},
    {"replacement": {"min_similarity": 0.0}},
    {"replacement": {"min_similarity": 0.75}},
    {"replacement": {"max_turns": 2}},
)

POLICY = Policy("edgevlm", "context transfer: late answers rewrite the history and steer the eyes", play, CANDIDATES)


ABLATIONS = tuple(
    Policy(f"{POLICY.name}_{name}", summary, play, knobs_of=POLICY.name)
    for name, summary, play in (
        ("no_replacement", "without the cloud's words in the history", without_replacement),
        ("no_focus", "without the cloud's regions", without_focus),
        ("shuffled", "with what the cloud said about another scene", shuffled),
        ("random_regions", "with the cloud's words and random regions", random_regions),
    )
)

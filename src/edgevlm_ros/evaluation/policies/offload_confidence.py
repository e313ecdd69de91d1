# SPDX-License-Identifier: Apache-2.0
"""A cascade: a frame that the small model is unsure of goes to the large one, and waits for it.

As in model cascades (Wang et al., "IDK Cascades", 2017; Chen et al., "FrugalGPT", 2023), the threshold on the small
model's confidence is the knob, and at 0 nothing is ever sent. While a frame waits, so does all that comes after it.
"""

from __future__ import annotations

from edgevlm_ros.evaluation import timings
from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.outcomes import Said
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.simulation import Played, Scene
from edgevlm_ros.evaluation.timeline import Call, Camera

THRESHOLDS = (0.6, 0.0, 0.4, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.01)


def play(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    camera, budget = Camera(scene.stream.stamps), scene.budget()
    calls: list[Call] = []
    said: list[Said] = []
    free = scene.begin
    while (taken := camera.take(free)) is not None:
        free, question = taken.start, scene.question(taken.start)
        if question is None:
            continue
        done = scene.plain(taken.stamp, question)
        free = taken.start + scene.cost(timings.EDGE, taken.stamp)
        text, cloud = done.text, False
        if round(done.confidence, 4) < knobs["threshold"] and budget.open(free):
            size, compute = scene.stream.jpeg_bytes(taken.stamp), scene.cost(timings.CLOUD, taken.stamp)
            calls.append(scene.call(link, len(calls) + 1, taken.stamp, question, free, size, compute))
            budget.spend(free, size)
            free = calls[-1].over
            reply = scene.reply(taken.stamp, question) if calls[-1].arrival is not None else None
            text, cloud = (reply.text, True) if reply is not None else (text, False)
        said.append(Said(free, question, text, taken.stamp, cloud))
    return Played(said, calls)


POLICY = Policy(
    "offload_confidence",
    "a cascade: what the small model is unsure of waits for the large one",
    play,
    candidates=tuple({"threshold": threshold} for threshold in THRESHOLDS),
    per_delay=True,
    all_frames=True,
)

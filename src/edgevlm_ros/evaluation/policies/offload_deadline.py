# SPDX-License-Identifier: Apache-2.0
"""Offloading under a deadline: upload if the answer is likely to be in time and likely to be worth it.

The expected latency is a moving average of those seen (EWMA, as TCP's round-trip time, RFC 6298); the expected gain
is what the large model gained over the small one at this confidence and delay on the validation split. A frame that is
sent waits for its answer until the deadline and takes the small model's if that passes. When the average says that
no answer would be in time, a frame is sent now and then without waiting, to see whether the network has got better.
"""

from __future__ import annotations

from bisect import bisect_right

from edgevlm_ros.evaluation import timings
from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.outcomes import Said
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.simulation import Played, Scene
from edgevlm_ros.evaluation.timeline import Call, Camera

EDGES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # of the bins of confidence
DEADLINES = (2.0, 0.5, 1.0, 4.0, 10.0)  # seconds
LEAST_GAINS = (0.1, 0.0, 0.05, 0.2, 0.4)
_WEIGHT = 0.25  # of the newest latency in the average
_PROBE_S = 10.0


def play(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    camera, budget = Camera(scene.stream.stamps), scene.budget()
    deadline, gains = round(knobs["deadline"] * 1e9), knobs["gains"]
    predicted: float | None = None
    calls: list[Call] = []
    noticed: list[Call] = []
    said: list[Said] = []
    free = scene.begin
    while (taken := camera.take(free)) is not None:
        free, question = taken.start, scene.question(taken.start)
        if question is None:
            continue
        done = scene.plain(taken.stamp, question)
        free = taken.start + scene.cost(timings.EDGE, taken.stamp)
        for call in calls:
            if call.over <= free and call not in noticed:
                noticed.append(call)
                predicted = averaged(predicted, call.over - call.sent)
        text, cloud = done.text, False
        in_time = predicted is None or predicted <= deadline
        pays = gains[bin_of(done.confidence)] > knobs["least_gain"]
        probe = not in_time and free - calls[-1].sent >= _PROBE_S * 1e9
        if pays and (in_time or probe) and budget.open(free):
            size, compute = scene.stream.jpeg_bytes(taken.stamp), scene.cost(timings.CLOUD, taken.stamp)
            call = scene.call(link, len(calls) + 1, taken.stamp, question, free, size, compute)
            calls.append(call)
            budget.spend(free, size)
            if not probe:
                arrives = call.arrival if call.arrival is not None else call.over
                free = min(arrives, call.sent + deadline)
                reply = scene.reply(taken.stamp, question) if call.arrival == free else None
                text, cloud = (reply.text, True) if reply is not None else (text, False)
        said.append(Said(free, question, text, taken.stamp, cloud))
    return Played(said, calls)


def averaged(predicted: float | None, latency: float) -> float:
    """The moving average after one more latency."""
    return latency if predicted is None else (1 - _WEIGHT) * predicted + _WEIGHT * latency


def bin_of(confidence: float) -> int:
    """The bin of a confidence: the number of edges at or below it."""
    return bisect_right(EDGES, round(confidence, 4))


POLICY = Policy(
    "offload_deadline",
    "upload if the answer is likely to be in time and to be worth it",
    play,
    candidates=tuple(
        {"deadline": deadline, "least_gain": least, "gains": [1.0] * 6 + [0.0] * 3}
        for deadline in DEADLINES
        for least in LEAST_GAINS
    ),
    per_delay=True,
    all_frames=True,
)

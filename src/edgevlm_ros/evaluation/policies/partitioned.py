# SPDX-License-Identifier: Apache-2.0
"""The large model cut in two: its vision encoder on the robot, its language model in the cloud.

As in split computing (Neurosurgeon, Kang et al., ASPLOS 2017): visual tokens go up in place of pixels, rounded to int8.
The robot pays for the encoder; the answer is the large model's own on what the rounding left, and comes as late as any.
keep: share of the visual tokens that goes up, chosen as the bridge chooses them (cloud.diversity).
"""

from __future__ import annotations

from edgevlm_ros.evaluation import timings
from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.policies.cloud_only import returned
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.simulation import Played, Scene
from edgevlm_ros.evaluation.timeline import Call
from edgevlm_ros.transfer.types import Question


def play(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    keep = float(knobs.get("keep", 1.0))
    size = scene.feature_bytes(keep)

    def make(number: int, stamp: int, question: Question) -> Call:
        eyes, whole = scene.cost(timings.CLOUD_EYES, stamp), scene.cost(timings.CLOUD, stamp)
        return scene.call(link, number, stamp, question, stamp + eyes, size, max(whole - eyes, 0))

    calls = scene.scheduled(make, scene.budget())
    said = returned(scene, calls, lambda call: scene.spoken_of_features(call.stamp, call.question, keep).text)
    return Played(said, calls)


POLICY = Policy("partitioned", "the large model's eyes on the robot, the rest of it in the cloud", play)

# SPDX-License-Identifier: Apache-2.0
"""Speculative decoding across the network: the small model drafts, the large one verifies.

Verification in one pass (Leviathan et al., ICML 2023) changes no word of the large model's answer; it only saves the
decoding steps of the tokens that are accepted, and costs the draft's bytes on the way up. So late an answer is as late.
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
    drafted = accepted = 0

    def make(number: int, stamp: int, question: Question) -> Call:
        nonlocal drafted, accepted
        done = scene.verified(stamp, question)
        drafted, accepted = drafted + done.drafted_tokens, accepted + done.accepted_tokens
        sent = stamp + scene.cost(timings.EDGE, stamp)
        size = scene.stream.jpeg_bytes(stamp) + len(scene.plain(stamp, question).text.encode())
        compute = scene.cost(timings.CLOUD, stamp) - done.accepted_tokens * scene.cost(timings.CLOUD_TOKEN, stamp)
        return scene.call(link, number, stamp, question, sent, size, max(compute, 0))

    calls = scene.scheduled(make, scene.budget())
    said = returned(scene, calls, lambda call: scene.verified(call.stamp, call.question).text)
    return Played(said, calls, {"tokens drafted": drafted, "tokens accepted": accepted})


POLICY = Policy("speculative", "the small model drafts, the large one verifies", play)

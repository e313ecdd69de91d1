# SPDX-License-Identifier: Apache-2.0
"""The large model alone: the newest answer that has come back, for as long as nothing newer has."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.outcomes import Said
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.simulation import Played, Scene
from edgevlm_ros.evaluation.timeline import Call, in_order


def play(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    calls = scene.keyframes(link)
    return Played(returned(scene, calls, lambda call: scene.spoken(call.stamp, call.question).text), calls)


def returned(scene: Scene, calls: Iterable[Call], words: Callable[[Call], str]) -> list[Said]:
    """The replies that can be read, each at its arrival. words: what the large model says to a call."""
    said = []
    for call in in_order(calls):
        reply = scene.read(words(call), call.stamp)
        if reply is not None and call.arrival is not None:
            said.append(Said(call.arrival, call.question, reply.text, call.stamp, cloud=True))
    return said


POLICY = Policy("cloud_only", "the newest answer of the large model that has returned", play)

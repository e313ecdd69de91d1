# SPDX-License-Identifier: Apache-2.0
"""The large model on every frame, at once: what no network can give, the ceiling."""

from __future__ import annotations

from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.policies.cloud_only import returned
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.simulation import Played, Scene
from edgevlm_ros.evaluation.timeline import Call


def play(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    calls = [
        Call(number, stamp, question, stamp, stamp, stamp, scene.stream.jpeg_bytes(stamp))
        for number, stamp in enumerate(scene.stream.stamps, 1)
        if (question := scene.question(stamp)) is not None
    ]
    return Played(returned(scene, calls, lambda call: scene.spoken(call.stamp, call.question).text), calls)


POLICY = Policy("cloud_oracle", "the large model on every frame without any delay", play, all_frames=True)

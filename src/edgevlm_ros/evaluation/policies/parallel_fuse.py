# SPDX-License-Identifier: Apache-2.0
"""Both models side by side: the small one's answer at once, the large one's when it lands, held for a while.

After HybridFlow-style and "edge now, cloud later" assistants: nothing of the large model's answer reaches the small
one. How long a late answer is held is the only knob; at 0 the next edge answer takes its place.
"""

from __future__ import annotations

from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.outcomes import Said
from edgevlm_ros.evaluation.policies.cloud_only import returned
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.simulation import Played, Scene

HOLDS = (1.0, 0.0, 0.5, 2.0, 4.0, 8.0)  # seconds


def play(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    calls = scene.keyframes(link)
    late = returned(scene, calls, lambda call: scene.spoken(call.stamp, call.question).text)
    hold = round(knobs["hold"] * 1e9)
    said = list(late)
    for taken, question, done, end in scene.turns():
        held = any(0 <= end - cloud.published < hold and cloud.question == question for cloud in late)
        if not held:
            said.append(Said(end, question, done.text, taken.stamp))
    return Played(sorted(said, key=lambda one: one.published), calls)


POLICY = Policy(
    "parallel_fuse",
    "the small model's answer at once, the large one's when it lands",
    play,
    candidates=tuple({"hold": hold} for hold in HOLDS),
    per_delay=True,
)

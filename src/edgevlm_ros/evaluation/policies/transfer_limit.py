# SPDX-License-Identifier: Apache-2.0
"""What transfer of context could do with one view of each frame and no memory, from the ground truth of what is seen.

An answer is right if the small model can see each fact of it in the whole frame now, or the large one could see it on
the last keyframe that has returned: the same value of the same thing. Otherwise it is what the small model says alone.
A second view, or what was seen on earlier frames, may tell more: this bounds no policy that has either.
"""

from __future__ import annotations

from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.outcomes import Said
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.simulation import Played, Scene
from edgevlm_ros.evaluation.timeline import Call, in_order


def play(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    calls = scene.keyframes(link)
    arrived = in_order(calls)
    right = {(truth.stamp, truth.question): truth.answer for truth in scene.stream.truths}
    said, transferred = [], 0
    for taken, question, done, end in scene.turns():
        text = done.text
        newest = next((call for call in reversed(arrived) if _by(call, taken.start)), None)
        if newest is not None and newest.question != question:
            newest = None
        answer = right.get((taken.stamp, question))
        if answer is not None and knowable(scene, taken.stamp, newest.stamp if newest is not None else None):
            text, transferred = answer, transferred + 1
        said.append(Said(end, question, text, taken.stamp))
    return Played(said, calls, {"knowable": transferred})


def knowable(scene: Scene, stamp: int, keyframe: int | None) -> bool:
    """Whether all facts of a frame's answer are seen on it, or were on the keyframe. Not where no facts are known."""
    facts = scene.stream.facts
    told = {(f.name, f.object_id, f.value) for f in facts.get(keyframe, ()) if f.cloud_sees} if keyframe else set()
    here = facts.get(stamp, ())
    return bool(here) and all(f.edge_sees or (f.name, f.object_id, f.value) in told for f in here)


def _by(call: Call, now: int) -> bool:
    return call.arrival is not None and call.arrival <= now


POLICY = Policy(
    "transfer_limit", "what transfer could do with one view and no memory, by the ground truth", play, needs_facts=True
)

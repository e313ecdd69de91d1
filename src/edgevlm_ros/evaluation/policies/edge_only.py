# SPDX-License-Identifier: Apache-2.0
"""The small model alone: the floor, and what a robot without a network has."""

from __future__ import annotations

from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.outcomes import Said
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.simulation import Played, Scene


def play(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    return Played([Said(end, question, done.text, taken.stamp) for taken, question, done, end in scene.turns()])


POLICY = Policy("edge_only", "the small model alone", play)

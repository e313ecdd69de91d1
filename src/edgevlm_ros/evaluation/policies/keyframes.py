# SPDX-License-Identifier: Apache-2.0
"""When to ask the cloud: the method with keyframes at fixed periods, and by signs that they would tell something new.

A fixed period buys accuracy by calls. What signs are worth is seen only on the curve: the same accuracy for fewer
calls, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.policies import edgevlm
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.simulation import Played, Scene

PERIODS = (1, 2, 3, 4, 6, 8)  # seconds
LONGEST = (3, 6, 10)  # seconds without a sign; the other settings are those of the robot


def _policy(name: str, summary: str, rule: Mapping[str, Any]) -> Policy:
    def play(scene: Scene, link: Latency, knobs: Knobs) -> Played:
        return edgevlm.transferred(scene, link, {**knobs, "keyframes": rule})

    return Policy(f"{edgevlm.POLICY.name}_{name}", summary, play, knobs_of=edgevlm.POLICY.name, all_frames=True)


BY_PERIOD = tuple(
    _policy(f"every_{period}s", f"with a keyframe every {period} s", {"mode": "period", "period": float(period)})
    for period in PERIODS
)
BY_SIGNS = tuple(
    _policy(
        f"signs_{longest}s",
        f"with a keyframe at a sign, and after {longest} s without one",
        {"mode": "adaptive", "max_period": float(longest)},
    )
    for longest in LONGEST
)
KEYFRAMES = (*BY_PERIOD, *BY_SIGNS)

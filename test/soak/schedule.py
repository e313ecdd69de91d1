# SPDX-License-Identifier: Apache-2.0
"""What happens to the robot, and when: the same round of trouble again and again, so that rounds can be compared.

A leak shows as a difference between rounds. Each therefore has the same kinds of events at the same places, and only
what they do goes on from round to round: another fault, another question, the other node.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

EDGE, BRIDGE, RECORDER = "edge_node", "cloud_bridge_node", "recorder_node"
CALM = "calm"

# Shares of a round. The first one comes before all trouble, and is where threads and descriptors are compared.
PHASES: tuple[tuple[str, float], ...] = (
    (CALM, 0.2),
    ("cloud", 0.3),
    ("people", 0.15),
    ("camera", 0.15),
    ("lifecycle", 0.2),
)

# By phase: when an event begins and how long it lasts, as shares of the phase; 0 for a moment. One that lasts is over
# before the next of its kind begins.
_PLAN: dict[str, tuple[tuple[float, float, str], ...]] = {
    "cloud": ((0.0, 0.35, "fault"), (0.5, 0.35, "fault")),
    "people": (
        (0.0, 0.0, "question"),
        (0.15, 0.0, "ask"),
        (0.3, 0.0, "focus"),
        (0.35, 0.4, "viewer"),
        (0.5, 0.0, "ask"),
        (0.6, 0.0, "question"),
        (0.75, 0.0, "ask"),
        (0.85, 0.0, "focus"),
    ),
    "camera": ((0.0, 0.0, "size"), (0.2, 0.0, "bad"), (0.3, 0.2, "pause"), (0.65, 0.0, "stamps"), (0.8, 0.0, "camera")),
    "lifecycle": ((0.05, 0.15, "cycle"), (0.35, 0.15, "cycle"), (0.65, 0.15, "reload")),
}

# What the events of a kind do, one after the other, over and over.
VALUES: dict[str, tuple[str, ...]] = {
    "fault": (
        *("refused", "silent", "status", "not_json", "cut_stream", "reset"),
        *("dripping_body", "wrong_shape", "partition", "truncated_json", "late", "throttled"),
    ),
    "question": (
        "What does the cart carry, and where is it?",
        "Where is the person?",
        "What is ahead, and where do I pass?",
        "Which machine is it, and what is its state?",
    ),
    "ask": ("edge", "cloud", "canceled"),
    "focus": ("none", "attention+crop", "overlay", "crop"),
    "viewer": ("focus/overlay",),
    "size": ("320x240", "640x480", "800x450"),
    "bad": ("3",),
    "pause": ("",),
    "stamps": ("-30", "0"),
    "camera": ("again",),
    "cycle": (EDGE, BRIDGE),
    "reload": (f"{EDGE} raw", f"{BRIDGE} compressed", f"{EDGE} compressed", f"{BRIDGE} raw"),
}

PHASE = "phase"


@dataclass(frozen=True, slots=True)
class Step:
    """The beginning or the end of something. at: seconds from the beginning. kind: an event's, or PHASE, of which the
    value is the name."""

    at: float
    kind: str
    value: str
    begins: bool = True


def schedule(seconds: float, round_s: float, only: Collection[str] = ()) -> list[Step]:
    """All steps in order, of as many whole rounds as there is time for, one at least.

    Rounds are stretched a little where they do not fill the time, so that a run is as long as it was asked to be. only:
    kinds of events that are to happen; all if there are none.
    """
    rounds = max(1, int(seconds / round_s + 1e-9))
    length = max(round_s, seconds / rounds)
    made = dict.fromkeys(VALUES, 0)
    steps: list[Step] = []
    for number in range(rounds):
        began = number * length
        for phase, share in PHASES:
            steps.append(Step(began, PHASE, phase))
            for place, lasts, kind in _PLAN.get(phase, ()):
                if only and kind not in only:
                    continue
                value = VALUES[kind][made[kind] % len(VALUES[kind])]
                made[kind] += 1
                at = began + place * share * length
                steps.append(Step(at, kind, value))
                if lasts:
                    steps.append(Step(at + lasts * share * length, kind, value, begins=False))
            began += share * length
    return sorted(steps, key=lambda step: step.at)  # stable: a phase comes before what is in it


def kinds(steps: Sequence[Step]) -> list[str]:
    """Of events, in the order of the table above."""
    found = {step.kind for step in steps}
    return [kind for kind in VALUES if kind in found]

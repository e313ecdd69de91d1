# SPDX-License-Identifier: Apache-2.0
"""What a policy is: a name, a function that plays a scene, and the settings that calibration chooses among."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.simulation import Played, Scene

Knobs = Mapping[str, Any]
Play = Callable[[Scene, Latency, Knobs], Played]


@dataclass(frozen=True, slots=True)
class Policy:
    """name, summary: for people. play: pure; the same scene, delays and knobs give the same result.

    candidates: knobs to choose among on the validation split, the first are the defaults. per_delay: whether they are
    chosen for each delay, or once for all. knobs_of: the policy whose knobs are taken instead. all_frames: whether it
    may ask the LVLM about any frame; else only about keyframes. needs_facts: of the stream.
    """

    name: str
    summary: str
    play: Play
    candidates: tuple[Knobs, ...] = ({},)
    per_delay: bool = False
    knobs_of: str = ""
    all_frames: bool = False
    needs_facts: bool = False

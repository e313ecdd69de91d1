# SPDX-License-Identifier: Apache-2.0
"""The knobs of each policy as the validation split chose them: config/evaluation.json.

A policy with a badly set threshold is a straw man, and one that was set on the test split proves nothing. So they are
chosen once, by `edgevlm evaluate --calibrate`, written down with the command and the date, and read by every other run.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgevlm_ros.assets import share_dir
from edgevlm_ros.evaluation.latency import latency
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.policies.registry import POLICIES

EVERY_DELAY = "every delay"
_MODELS = ("edge_model", "cloud_model")
_KEYFRAME_BYTES, _REPLY_BYTES, _COMPUTE_S = 15_000, 300, 0.1  # of a call by which delays are compared


@dataclass(frozen=True, slots=True)
class Calibrated:
    """chosen: knobs by policy and delay. about: command, date, models and what else is to be known."""

    chosen: Mapping[str, Mapping[str, Knobs]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def knobs(self, policy: Policy, delay: str) -> Knobs:
        """Those of the delay, else of the calibrated one that is nearest to what this one usually is; a policy's
        defaults where nothing was calibrated."""
        source = POLICIES.get(policy.knobs_of, policy)
        known = self.chosen.get(source.name, {})
        if not known:
            return source.candidates[0]
        for name in (EVERY_DELAY, delay):
            if name in known:
                return known[name]
        return known[min(known, key=lambda name: (abs(usual(name) - usual(delay)), name))]


def usual(delay: str) -> float:
    """The median seconds from a call to its reply; more than anything else if most replies are lost."""
    link = latency(delay, 0)
    sent = [2.0 * number for number in range(60)]
    arrivals = [link.arrival(at, _KEYFRAME_BYTES, _REPLY_BYTES, _COMPUTE_S) for at in sent]
    known = [comes - at for at, comes in zip(sent, arrivals, strict=True) if comes is not None]
    return statistics.median(known) if 2 * len(known) > len(sent) else 1e6


def calibration_file() -> Path:
    return share_dir() / "config" / "evaluation.json"


def load_calibrated(file: Path) -> Calibrated:
    """Defaults for all policies if there is no such file. Raises ValueError for one that cannot be used."""
    if not file.exists():
        return Calibrated()
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        chosen = {str(policy): {str(d): dict(k) for d, k in each.items()} for policy, each in values["chosen"].items()}
        unknown = sorted(set(chosen) - set(POLICIES))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no policy")
        return Calibrated(chosen, dict(values["about"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: {error}: write it anew with `edgevlm evaluate --calibrate`") from error


def joined(before: Calibrated, now: Calibrated) -> Calibrated:
    """The knobs of both, the new ones first of all; of the old ones only if they were chosen with the same models."""
    same = all(before.about.get(model) == now.about.get(model) for model in _MODELS)
    kept = {policy: each for policy, each in before.chosen.items() if same and policy not in now.chosen}
    if not kept:
        return now
    commands = [*before.about.get("earlier", ()), {name: before.about.get(name) for name in ("command", "date")}]
    return Calibrated({**kept, **now.chosen}, {**now.about, "earlier": commands})


def save_calibrated(file: Path, found: Calibrated) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    values = {"about": dict(found.about), "chosen": {name: dict(each) for name, each in found.chosen.items()}}
    file.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

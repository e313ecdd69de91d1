# SPDX-License-Identifier: Apache-2.0
"""The runs of an evaluation as figures: which policy was right how often, at which delay, with which interval.

Everything that a table, a plot or results.json says is asked of Results, so that they cannot disagree. The streaming
accuracy of several scenes is the share of all their ground-truth times at which the newest answer was right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgevlm_ros.evaluation import bootstrap
from edgevlm_ros.evaluation.bootstrap import Estimate, Scene, Tally
from edgevlm_ros.evaluation.outcomes import Run

ALL = "all"
"""The dataset that stands for all of them together."""

FLOOR, LIMIT, CEILING = "edge_only", "transfer_limit", "cloud_oracle"
OURS = "edgevlm"
LABELS = {  # in the order of tables
    "edge_only": "edge only",
    "edge_centre_view": "edge only, centre view",
    "edge_centre_memory": "edge only, centre view, memory",
    "cloud_only": "cloud only",
    "offload_confidence": "offload by confidence",
    "offload_deadline": "offload by deadline",
    "partitioned": "partitioned",
    "speculative": "speculative",
    "parallel_fuse": "parallel, fused",
    "edgevlm": "edgeVLM",
    "edgevlm_no_replacement": "edgeVLM, no replacement",
    "edgevlm_no_focus": "edgeVLM, no focus",
    "edgevlm_shuffled": "edgeVLM, another scene's context",
    "edgevlm_random_regions": "edgeVLM, random regions",
    **{f"edgevlm_every_{period}s": f"edgeVLM, keyframe every {period} s" for period in (1, 2, 3, 4, 6, 8)},
    **{f"edgevlm_signs_{longest}s": f"edgeVLM, keyframe at a sign or after {longest} s" for longest in (3, 6, 10)},
    "transfer_limit": "limit of transfer, one view, no memory",
    "cloud_oracle": "cloud without delay",
}
BY_PERIOD = tuple(policy for policy in LABELS if policy.startswith(f"{OURS}_every_"))
BY_SIGNS = tuple(policy for policy in LABELS if policy.startswith(f"{OURS}_signs_"))
ABLATIONS = tuple(p for p in LABELS if p.startswith(f"{OURS}_") and p not in (*BY_PERIOD, *BY_SIGNS))
USUAL = "edgevlm_every_2s"  # what other keyframes are held against
VARIANTS = (*ABLATIONS, *BY_PERIOD, *BY_SIGNS)
"""Of our own policy: with less in it, and with other keyframes."""
BOUNDS = (LIMIT, CEILING)
_TELLING_S = 3.0  # the delay that titles speak of, or the nearest to it
_WITHOUT_CLOUD_DELAY = (
    FLOOR,
    "edge_centre_view",
    "edge_centre_memory",
    CEILING,
)  # the same at every delay, so one run of them serves all


class Results:
    """Accuracies of runs by policy, delay and dataset; every policy or delay that was not run gives None."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._groups: dict[tuple[str, str, str], list[Run]] = {}
        for run in runs:
            for dataset in (ALL, run.dataset):
                self._groups.setdefault((run.policy, delay_of(run), dataset), []).append(run)
        for policy in _WITHOUT_CLOUD_DELAY:
            self._serve_all_delays(policy)
        self._tallies = {key: tallies(group) for key, group in self._groups.items()}

    @property
    def policies(self) -> list[str]:
        return sorted({policy for policy, _, _ in self._groups}, key=_place)

    @property
    def delays(self) -> list[str]:
        return sorted({delay for _, delay, _ in self._groups}, key=delay_order)

    @property
    def datasets(self) -> list[str]:
        """All together first."""
        return [ALL, *sorted({dataset for _, _, dataset in self._groups} - {ALL})]

    @property
    def competitors(self) -> list[str]:
        """The policies that a robot could choose: neither bounds nor variants of ours."""
        return [policy for policy in self.policies if policy not in (*BOUNDS, *VARIANTS)]

    @property
    def judged(self) -> bool:
        """Whether any ground truth is known."""
        return any(tally.count for part in self._tallies.values() for tally in part.values())

    def runs(self, policy: str, delay: str, dataset: str = ALL) -> list[Run]:
        return self._groups.get((policy, delay, dataset), [])

    def accuracy(self, policy: str, delay: str, dataset: str = ALL) -> Estimate | None:
        part = self._of(policy, delay, dataset)
        return bootstrap.accuracy(part) if part else None

    def difference(self, policy: str, other: str, delay: str, dataset: str = ALL) -> Estimate | None:
        """policy minus other."""
        parts = [self._of(each, delay, dataset) for each in (policy, other)]
        return bootstrap.difference(*parts) if all(parts) else None

    def share_of_gap(
        self, policy: str, delay: str, floor: str = FLOOR, ceiling: str = CEILING, dataset: str = ALL
    ) -> Estimate | None:
        parts = [self._of(each, delay, dataset) for each in (policy, floor, ceiling)]
        return bootstrap.share_of_gap(*parts) if all(parts) else None

    def rows(self) -> list[dict[str, Any]]:
        """The rows of results.json: one for each policy, dataset and delay. None where there was nothing to measure."""
        return [
            _row(policy, dataset, delay, group, self.accuracy(policy, delay, dataset))
            for policy in self.policies
            for dataset in self.datasets
            for delay in self.delays
            if (group := self.runs(policy, delay, dataset))
        ]

    def _of(self, policy: str, delay: str, dataset: str) -> dict[Scene, Tally]:
        return self._tallies.get((policy, delay, dataset), {})

    def _serve_all_delays(self, policy: str) -> None:
        for dataset in {dataset for _, _, dataset in self._groups}:
            known = [(d, self._groups[policy, d, dataset]) for d in self.delays if (policy, d, dataset) in self._groups]
            for delay in self.delays if known else ():
                self._groups.setdefault((policy, delay, dataset), known[0][1])


def tallies(runs: Sequence[Run]) -> dict[Scene, Tally]:
    """By scene, the seeds of a scene added up. Scenes without ground truth are left out."""
    found: dict[Scene, Tally] = {}
    for run in runs:
        if run.correct:
            scene = (run.dataset, str(run.scene))
            found[scene] = found.get(scene, Tally(0, 0)) + Tally(float(sum(run.correct)), len(run.correct))
    return found


def delay_of(run: Run) -> str:
    return str(run.delay)


def seconds_of(delay: str) -> float | None:
    """Of a fixed delay; None of a distribution or a trace."""
    try:
        return float(delay)
    except ValueError:
        return None


def delay_order(delay: str) -> tuple[bool, float, str]:
    """Fixed delays first, by length; then the others by name."""
    seconds = seconds_of(delay)
    return seconds is None, seconds or 0.0, delay


def delay_label(delay: str) -> str:
    """'3' is '3 s', 'trace:4g_drive' is '4g drive', and 'dead' is what it is."""
    if seconds_of(delay) is not None:
        return "no delay" if seconds_of(delay) == 0 else f"{delay} s"
    return delay.rpartition("/")[2].removeprefix("trace:").removesuffix(".csv").replace("_", " ")


def cloud_label(delay: str) -> str:
    """'cloud 3 s late', and the like for what is no number."""
    if seconds_of(delay) is None:
        return f"cloud delayed by {delay_label(delay)}"
    return "cloud without delay" if seconds_of(delay) == 0 else f"cloud {delay_label(delay)} late"


def telling_delay(results: Results) -> str:
    """3 s, or the fixed delay nearest to it; the first one where none is fixed."""
    fixed = [delay for delay in results.delays if seconds_of(delay) is not None]
    return min(fixed, key=lambda delay: abs((seconds_of(delay) or 0.0) - _TELLING_S)) if fixed else results.delays[0]


def policy_label(policy: str) -> str:
    return LABELS.get(policy, policy.replace("_", " "))


def _place(policy: str) -> tuple[int, str]:
    order = list(LABELS)
    return (order.index(policy) if policy in order else len(order), policy)


def _row(policy: str, dataset: str, delay: str, runs: Sequence[Run], found: Estimate | None) -> dict[str, Any]:
    ages = np.array([age for run in runs for age in run.ages], dtype=np.float64)
    ages = ages[np.isfinite(ages)]
    seconds = sum(run.duration for run in runs)
    p50, p95 = (round(float(age) * 1e3, 1) for age in np.percentile(ages, (50, 95))) if ages.size else (None, None)
    return {
        "policy": policy,
        "dataset": dataset,
        "split": "+".join(sorted({run.split for run in runs})),
        "delay": delay,
        "seeds": sorted({run.seed for run in runs}),
        "streaming_accuracy": round(found.value, 4) if found else None,
        "ci95": [round(side, 4) for side in found.interval] if found and found.interval else None,
        "answer_age_p50_ms": p50,
        "answer_age_p95_ms": p95,
        "misses": sum(run.misses for run in runs),
        "bytes_up_per_s": round(sum(run.bytes_up for run in runs) / seconds, 1) if seconds else None,
        "cloud_calls_per_min": round(60 * sum(run.cloud_calls for run in runs) / seconds, 2) if seconds else None,
    }


def shares(results: Results) -> list[dict[str, Any]]:
    """For every delay and dataset, how much of what there is to gain each competitor gained; for results.json."""
    return [
        {
            "policy": policy,
            "dataset": dataset,
            "delay": delay,
            **_flat("of_oracle", results.share_of_gap(policy, delay, dataset=dataset)),
            **_flat("of_transfer_limit", results.share_of_gap(policy, delay, ceiling=LIMIT, dataset=dataset)),
        }
        for policy in [*results.competitors, LIMIT]
        if policy != FLOOR
        for dataset in results.datasets
        for delay in results.delays
        if results.runs(policy, delay, dataset)
    ]


def differences(results: Results) -> list[dict[str, Any]]:
    """edgevlm minus each other policy, in accuracy, paired by scene; for results.json."""
    return [
        {"policy": OURS, "minus": other, "dataset": dataset, "delay": delay, **_flat("difference", found)}
        for other in results.policies
        if other != OURS
        for dataset in results.datasets
        for delay in results.delays
        if (found := results.difference(OURS, other, delay, dataset))
    ]


def _flat(name: str, found: Estimate | None) -> Mapping[str, Any]:
    return {
        name: round(found.value, 4) if found else None,
        f"{name}_ci95": [round(side, 4) for side in found.interval] if found and found.interval else None,
    }

# SPDX-License-Identifier: Apache-2.0
"""Who wins where: how long the asked facts live against how late the cloud is.

Each ground-truth time falls into one bin of lifetime (lifetimes.py) and, in each run, one delay. In each such cell
every policy has an accuracy of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgevlm_ros.evaluation import bootstrap
from edgevlm_ros.evaluation.bootstrap import Estimate, Scene, Tally
from edgevlm_ros.evaluation.lifetimes import BINS, bin_of, lifetimes
from edgevlm_ros.evaluation.outcomes import Run
from edgevlm_ros.evaluation.results import FLOOR, OURS, Results, seconds_of
from edgevlm_ros.evaluation.streams import Stream

FEWEST = 40  # ground-truth times without which a cell says nothing

Part = Literal["shortest", "longest"]
"""Of an answer's facts: the one that ends first or the one that ends last."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One bin of lifetime at one delay.

    place: in BINS. truths: ground-truth times. winner: the policy that was right most often, edge_only among equals;
    None where there are too few truths. lead: of the winner over edge_only. transfer: of edgevlm over edge_only.
    """

    place: int
    delay: str
    truths: int
    winner: str | None = None
    lead: Estimate | None = None
    transfer: Estimate | None = None

    @property
    def bin(self) -> str:
        return BINS[self.place]

    @property
    def transfer_helps(self) -> bool:
        """edgevlm beats edge_only by more than the interval."""
        return self.transfer is not None and self.transfer.above_zero


def cells(results: Results, streams: Sequence[Stream], part: Part) -> list[Cell]:
    """A cell for each fixed delay and bin. Truths without known facts are in none; without any, there are no cells."""
    bins = {stream_key(stream): _bins(stream, part) for stream in streams}
    if not any(place is not None for places in bins.values() for place in places):
        return []
    found = []
    for delay in filter(lambda delay: seconds_of(delay) is not None, results.delays):
        split = {policy: _by_bin(results.runs(policy, delay), bins) for policy in results.competitors}
        found += [
            _cell(place, delay, {policy: each[place] for policy, each in split.items()}) for place in range(len(BINS))
        ]
    return found


def stream_key(stream: Stream) -> Scene:
    return stream.dataset, stream.name


def run_key(run: Run) -> Scene:
    return run.dataset, str(run.scene)


def _bins(stream: Stream, part: Part) -> list[int | None]:
    """For each ground truth of a stream, in order."""
    lives = lifetimes(stream.facts)
    return [
        bin_of(getattr(lives[truth.stamp], part)) if truth.stamp in lives else None
        for truth in sorted(stream.truths, key=lambda truth: truth.stamp)
    ]


def _by_bin(runs: Sequence[Run], bins: Mapping[Scene, Sequence[int | None]]) -> list[dict[Scene, Tally]]:
    found: list[dict[Scene, Tally]] = [{} for _ in BINS]
    for run in runs:
        for score, place in zip(run.correct, bins.get(run_key(run), ()), strict=False):
            if place is not None:
                part = found[place]
                part[run_key(run)] = part.get(run_key(run), Tally(0, 0)) + Tally(score, 1)
    return found


def _cell(place: int, delay: str, parts: Mapping[str, Mapping[Scene, Tally]]) -> Cell:
    floor = parts.get(FLOOR, {})
    truths = max((sum(tally.count for tally in part.values()) for part in parts.values()), default=0)
    if truths < FEWEST or not floor:
        return Cell(place, delay, truths)
    leads = {policy: lead for policy, part in parts.items() if part and (lead := bootstrap.difference(part, floor))}
    winner = max(leads, key=lambda policy: (round(leads[policy].value, 9), policy == FLOOR))
    return Cell(place, delay, truths, winner, leads[winner], leads.get(OURS))

# SPDX-License-Identifier: Apache-2.0
"""Intervals that are honest about scenes: frames of one scene resemble each other, so scenes are what is drawn again.

The bootstrap draws as many scenes as there are, with replacement, within each dataset (Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993, chapters 8 and 13; percentile intervals). Every policy is judged on the same
draws, so differences and ratios of policies are paired. With few scenes a percentile interval is somewhat too narrow;
with one there is none.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Scene = tuple[str, str]
"""(dataset, scene)."""

RESAMPLES = 2000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a policy got right in one scene. right: sum of scores of 0..1. count: of ground-truth times."""

    right: float
    count: int

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.right + other.right, self.count + other.count)


Tallies = Mapping[Scene, Tally]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % interval; low and high are None where scenes are too few to tell."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def above_zero(self) -> bool:
        """By more than the interval, where there is one."""
        return (self.value if self.low is None else self.low) > 0

    @property
    def interval(self) -> list[float] | None:
        return None if self.low is None or self.high is None else [self.low, self.high]


def estimate(of: Callable[..., Floats], *parts: Tallies, seed: int = 0) -> Estimate | None:
    """A function of the accuracies of one or more policies, on the scenes that all of them have.

    of: takes one (RESAMPLES + 1,) array of accuracies for each part, the first element being that of the scenes as they
    are, and returns such an array. None: there is no common scene, or the value is not defined. No interval: too few
    scenes, or the value is not defined for some draw (a share of a gap that may be nothing).
    """
    common = sorted(set.intersection(*(set(part) for part in parts))) if parts else []
    if not common:
        return None
    draws = _draws(tuple(common), seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = of(*(_accuracies(draws, [part[scene] for scene in common]) for part in parts))
    if not np.isfinite(values[0]):
        return None
    if all(len(places) < 2 for places in _strata(common).values()) or not np.isfinite(values).all():
        return Estimate(float(values[0]))
    low, high = np.percentile(values[1:], _PERCENTILES)
    return Estimate(float(values[0]), float(low), float(high))


def accuracy(part: Tallies) -> Estimate | None:
    """The share of ground-truth times that were answered right, over all scenes."""
    return estimate(lambda accuracies: accuracies, part)


def difference(part: Tallies, other: Tallies) -> Estimate | None:
    """part minus other, paired by scene."""
    return estimate(np.subtract, part, other)


def share_of_gap(part: Tallies, floor: Tallies, ceiling: Tallies) -> Estimate | None:
    """How far part gets from floor (0) to ceiling (1), paired by scene."""
    return estimate(_share, part, floor, ceiling)


def _share(part: Floats, floor: Floats, ceiling: Floats) -> Floats:
    gap = ceiling - floor
    return np.where(gap > 0, (part - floor) / gap, np.nan)


def _accuracies(draws: Floats, tallies: Iterable[Tally]) -> Floats:
    right, count = np.array([(tally.right, tally.count) for tally in tallies], dtype=np.float64).T
    return (draws @ right) / (draws @ count)


@functools.lru_cache(maxsize=64)
def _draws(scenes: tuple[Scene, ...], seed: int) -> Floats:
    """(RESAMPLES + 1, scenes): how often each scene is in each draw. The first draw has each once."""
    draws = np.ones((RESAMPLES + 1, len(scenes)))
    for name, places in _strata(scenes).items():
        generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
        chances = np.full(len(places), 1 / len(places))
        draws[1:, places] = generator.multinomial(len(places), chances, size=RESAMPLES)
    return draws


def _strata(scenes: Iterable[Scene]) -> dict[str, list[int]]:
    """Places of the scenes of each dataset. Datasets of one scene make one stratum together."""
    groups: dict[str, list[int]] = {}
    for place, (dataset, _) in enumerate(scenes):
        groups.setdefault(dataset, []).append(place)
    strata = {dataset: places for dataset, places in groups.items() if len(places) > 1}
    alone = [places[0] for places in groups.values() if len(places) == 1]
    return {**strata, "": alone} if alone else strata

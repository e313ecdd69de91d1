# SPDX-License-Identifier: Apache-2.0
"""What can be said of a bag without ground truth: do edge and cloud agree, when not, and how late is each.

Agreement is about frames: what one policy said of a frame against what the cloud said of the same frame, however late.
Where the two differ, one of them is wrong, and a person has to look which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgevlm_ros.evaluation.outcomes import Run, Said
from edgevlm_ros.evaluation.regimes import run_key, stream_key
from edgevlm_ros.evaluation.results import CEILING, FLOOR, OURS, Results
from edgevlm_ros.evaluation.streaming import matches
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.transfer.types import Question

CLOUD = (CEILING, "cloud_only")  # whose words are the cloud's; the first has one for every frame
WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Words:
    """What was said of one frame. said: by policy; the cloud's words are those of `cloud`."""

    stamp: int
    question: Question
    said: Mapping[str, str]
    cloud: str | None

    def agrees(self, policy: str) -> bool | None:
        """None: one of the two said nothing of this frame."""
        said = self.said.get(policy)
        return None if said is None or self.cloud is None else matches(said, self.cloud)


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from a frame's capture to the publication of what was said of it. answers: how many."""

    policy: str
    delay: str
    answers: int
    p50: float
    p95: float


def words_of(stream: Stream, results: Results, delay: str) -> list[Words]:
    """For each frame of a stream of which anything was said, in order; the first seed at this delay."""
    runs = {
        policy: run
        for policy in (FLOOR, OURS, *CLOUD)
        for run in results.runs(policy, delay)[::-1]
        if run_key(run) == stream_key(stream)
    }
    said = {policy: _by_frame(run) for policy, run in runs.items()}
    found = []
    for stamp in stream.stamps:
        here = {policy: words[stamp] for policy, words in said.items() if stamp in words}
        if here:
            cloud = next((here[policy].text for policy in CLOUD if policy in here), None)
            texts = {policy: each.text for policy, each in here.items() if policy not in CLOUD}
            found.append(Words(stamp, next(iter(here.values())).question, texts, cloud))
    return found


def over_time(words: Sequence[Words], policy: str, window: float = WINDOW_S) -> list[tuple[float, float]]:
    """(middle of a window in seconds since the first frame, share of its frames in which policy and cloud agree)."""
    if not words:
        return []
    groups: dict[int, list[bool]] = {}
    for each in words:
        agrees = each.agrees(policy)
        if agrees is not None:
            groups.setdefault(int((each.stamp - words[0].stamp) / 1e9 // window), []).append(agrees)
    return [((place + 0.5) * window, sum(group) / len(group)) for place, group in sorted(groups.items())]


def share(words: Sequence[Words], policy: str) -> float | None:
    """Of the frames of which both spoke, those in which they agree."""
    known = [agrees for each in words if (agrees := each.agrees(policy)) is not None]
    return sum(known) / len(known) if known else None


def latencies(results: Results) -> list[Latency]:
    """For each policy and delay of which answers are known."""
    found = []
    for policy in results.policies:
        for delay in results.delays:
            runs = results.runs(policy, delay)
            times = [(s.published - s.frame) / 1e9 for run in runs for s in run.published if isinstance(s, Said)]
            if times:
                p50, p95 = np.percentile(times, (50, 95))
                found.append(Latency(policy, delay, len(times), float(p50), float(p95)))
    return found


def worth_a_look(words: Sequence[Words], most: int) -> list[Words]:
    """Evenly over the stream; in each stretch a frame of which edge and cloud say different things, if there is one."""
    size = -(-len(words) // most) or 1
    stretches = [words[at : at + size] for at in range(0, len(words), size)]
    return [min(stretch, key=lambda each: each.agrees(FLOOR) is not False) for stretch in stretches]


def _by_frame(run: Run) -> dict[int, Said]:
    """The first thing that was said of each frame."""
    return {said.frame: said for said in reversed(run.published) if isinstance(said, Said)}

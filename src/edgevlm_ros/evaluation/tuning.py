# SPDX-License-Identifier: Apache-2.0
"""Chooses each policy's knobs on the validation split, by the streaming accuracy that they give.

Rivals get the same chance as the method: whatever has a knob gets it set at every delay. What the robot has only one
setting for (how it focuses, what it tells) is chosen once for all delays.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from edgevlm_ros.evaluation.calibrated import EVERY_DELAY, Calibrated, usual
from edgevlm_ros.evaluation.latency import latency
from edgevlm_ros.evaluation.outcomes import Key
from edgevlm_ros.evaluation.policies import offload_deadline
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.scoring import scored
from edgevlm_ros.evaluation.simulation import Played
from edgevlm_ros.evaluation.streaming import matches
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.evaluation.sweep import Means, SceneJob, Task, all_frames, gather_replies, play, remembering, scene_of
from edgevlm_ros.evaluation.workers import spread

SPLIT, SEED = "val", 0
_SCENES_FOR_ALL_DELAYS = 3  # of each dataset: a setting of the pipeline has to be computed, a threshold has not
_FEWEST_FRAMES = 30  # of a bin of confidence, below which nothing is known about it


@dataclass(frozen=True, slots=True)
class Tried:
    """One setting at one delay, with its streaming accuracy over all ground-truth times."""

    policy: str
    delay: str
    knobs: Knobs
    accuracy: float


def tune(
    streams: Sequence[Stream], policies: Sequence[Policy], delays: Sequence[str], means: Means, out: Path
) -> tuple[Calibrated, list[Tried]]:
    """Tries every candidate of every policy that has some. out: for the large model's replies."""
    tuned = [policy for policy in policies if len(policy.candidates) > 1 and not policy.knobs_of]
    gained = gains(streams, delays, means, out) if offload_deadline.POLICY in tuned else {}
    few = {stream.name for stream in first_scenes(streams, _SCENES_FOR_ALL_DELAYS)}

    def tasks(stream: Stream) -> list[Task]:
        return [
            Task(policy.name, delay, SEED, {**knobs, **({"gains": gained[delay]} if "gains" in knobs else {})})
            for policy in tuned
            if policy.per_delay or stream.name in few
            for delay in (delays if policy.per_delay else telling(delays))
            for knobs in policy.candidates
        ]

    right: dict[tuple[str, str, str], list[float]] = {}
    known: dict[tuple[str, str, str], Knobs] = {}

    def done(stream: Stream, tried: Sequence[Task], played: Sequence[Played]) -> None:
        for task, each in zip(tried, played, strict=True):
            name = task.policy, task.delay, json.dumps(task.knobs, sort_keys=True)
            key = Key(task.policy, stream.dataset, stream.name, SPLIT, task.delay, SEED)
            known[name] = task.knobs
            right.setdefault(name, []).extend(scored(stream, key, each).correct)

    play(streams, tasks, means, out / "replies", done, "calibrating")
    tried = [
        Tried(policy, delay, known[policy, delay, text], round(sum(each) / max(len(each), 1), 4))
        for (policy, delay, text), each in right.items()
    ]
    return Calibrated({policy.name: chosen(policy, tried) for policy in tuned}), tried


def telling(delays: Sequence[str]) -> list[str]:
    """Three of the delays, the shortest and longest that are any and one between: enough to choose for all."""
    ordered = sorted((delay for delay in delays if usual(delay) > 0), key=usual) or list(delays)
    places = sorted({0, len(ordered) // 2, len(ordered) - 1})
    return [ordered[place] for place in places]


def first_scenes(streams: Sequence[Stream], most: int) -> list[Stream]:
    """So many of each dataset."""
    counts: dict[str, int] = defaultdict(int)
    found = []
    for stream in streams:
        counts[stream.dataset] += 1
        if counts[stream.dataset] <= most:
            found.append(stream)
    return found


def chosen(policy: Policy, tried: Sequence[Tried]) -> dict[str, Knobs]:
    """The best knobs of a policy, for each delay or by the mean of all; the first of equals, so the defaults if nothing
    is better."""
    own = [each for each in tried if each.policy == policy.name]
    delays = list(dict.fromkeys(each.delay for each in own))
    if policy.per_delay:
        return {delay: max((e for e in own if e.delay == delay), key=lambda e: e.accuracy).knobs for delay in delays}
    rows = [[each for each in own if each.delay == delay] for delay in delays]
    best = max(zip(*rows, strict=True), key=lambda row: round(sum(each.accuracy for each in row), 4))
    return {EVERY_DELAY: best[0].knobs}


# -- what offloading gains -------------------------------------------------------------------------------------------


def gains(streams: Sequence[Stream], delays: Sequence[str], means: Means, out: Path) -> dict[str, list[float]]:
    """For each delay and bin of the small model's confidence: how much more often the large model's answer about a
    frame is right when it arrives than the small one's is at once. 0 where too few frames tell."""
    replies = gather_replies(streams, {stream.name: all_frames(stream) for stream in streams}, means, out / "replies")
    tasks = tuple(Task(offload_deadline.POLICY.name, delay, SEED, {}) for delay in delays)
    jobs = [SceneJob(stream, means, replies[stream.name], {}, tasks) for stream in streams]
    bins = len(offload_deadline.EDGES) + 1
    sums = {delay: [0.0] * bins for delay in delays}
    counts = {delay: [0] * bins for delay in delays}
    with tqdm(total=len(jobs), desc="what offloading gains", unit="scene") as bar:
        for _, differences in spread(offload_gains, jobs, means.workers, means.ray):
            for delay, place, difference in differences:
                sums[delay][place] += difference
                counts[delay][place] += 1
            bar.update()
    return {
        delay: [
            round(total / count, 3) if count >= _FEWEST_FRAMES else 0.0
            for total, count in zip(sums[delay], counts[delay], strict=True)
        ]
        for delay in delays
    }


def offload_gains(job: SceneJob) -> list[tuple[str, int, float]]:
    """Of each frame: the delay, the bin of its confidence, and the gain, -1..1."""
    scene = scene_of(job, SEED, remembering(job.means.robot.engine))
    stream = job.stream
    truths = {(truth.stamp, truth.question): truth.answer for truth in stream.truths}
    found = []
    for task in job.tasks:
        link = latency(task.delay, SEED)
        for truth in stream.truths:
            size = stream.jpeg_bytes(truth.stamp)
            arrival = scene.call(link, 0, truth.stamp, truth.question, truth.stamp, size, 0).arrival
            if arrival is None:
                continue
            later = next((stamp for stamp in stream.stamps if stamp >= arrival), None)
            right_then = truths.get((later, truth.question)) if later is not None else None
            if right_then is None:
                continue
            done = scene.plain(truth.stamp, truth.question)
            reply = scene.reply(truth.stamp, truth.question)
            gain = float(reply is not None and matches(reply.text, right_then)) - matches(done.text, truth.answer)
            found.append((task.delay, offload_deadline.bin_of(done.confidence), gain))
    return found

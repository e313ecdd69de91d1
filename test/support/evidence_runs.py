# SPDX-License-Identifier: Apache-2.0
"""Runs of a made-up evaluation: facts that come and go, and policies that are right by simple rules of chance.

No model is asked. A slow fact (who, which load) mostly only the cloud can tell, a fast one (the side) the edge sees
too, so the figures come out as one expects of the real thing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgevlm_ros.evaluation.outcomes import Run, Said
from edgevlm_ros.evaluation.stream_images import StreamImages
from edgevlm_ros.evaluation.streaming import Truth, judge
from edgevlm_ros.evaluation.streams import FactValue, Stream
from edgevlm_ros.transfer.types import Frame, Question

DATASETS = {
    "aisle": (("acid", "boxes", "gas", "parts"), ("pass left", "pass right")),
    "crossing": (("driver", "fitter", "guest", "medic"), ("left", "ahead", "right")),
    "gesture": (("driver", "fitter", "guest", "medic"), ("stop", "come", "go left", "go right")),
    "panel": (("A", "B", "C", "D"), ("running", "idle", "fault")),
}
POLICIES = (
    "edge_only",
    "edge_centre_view",
    "edge_centre_memory",
    "cloud_only",
    "offload_confidence",
    "offload_deadline",
    "partitioned",
    "speculative",
    "parallel_fuse",
    "edgevlm",
    "edgevlm_no_replacement",
    "edgevlm_no_focus",
    "edgevlm_shuffled",
    "edgevlm_random_regions",
    "transfer_limit",
    "cloud_oracle",
)
DELAYS = ("0", "1", "3", "6", "9")
STEP = 200_000_000
START = 1_700_000_000_000_000_000
_COLOURS = ((214, 90, 49), (64, 124, 189), (90, 150, 80), (150, 90, 160))


@dataclass(frozen=True, eq=False)
class DrawnStream(Stream):
    """Frames are drawn when they are asked for: a box whose colour is the slow fact, at the side of the fast one."""

    def frame(self, stamp: int) -> Frame:
        image = np.full((240, 320, 3), (226, 223, 216), np.uint8)
        image[150:] = (188, 184, 176)
        cv2.line(image, (0, 150), (320, 150), (150, 146, 140), 2)
        facts = self.facts.get(stamp, ())
        if facts:
            slows, fasts = DATASETS.get(self.dataset, DATASETS["aisle"])
            slow, fast = slows.index(facts[0].value), fasts.index(facts[1].value)
            middle = int(320 * (fast + 0.5) / len(fasts)) + (stamp // STEP) % 9 - 4
            cv2.rectangle(image, (middle - 36, 88), (middle + 36, 196), _COLOURS[slow], -1)
            cv2.putText(image, facts[0].value[:1].upper(), (middle - 14, 152), 0, 1.4, (255, 255, 255), 3, cv2.LINE_AA)
        return Frame(stamp, image)

    def jpeg_bytes(self, stamp: int) -> int:
        return 9000


def make_streams(datasets: Iterable[str] = DATASETS, scenes: int = 8, seconds: float = 60.0) -> list[Stream]:
    return [make_stream(dataset, scene, seconds) for dataset in datasets for scene in range(scenes)]


def make_stream(dataset: str = "aisle", scene: int = 0, seconds: float = 60.0) -> Stream:
    chance = _chance("stream", dataset, scene)
    stamps = tuple(START + STEP * i for i in range(int(seconds * 1e9 / STEP)))
    question = Question(f"What of the {dataset}?")
    slows, fasts = DATASETS[dataset]
    slow = _changing(chance, slows, len(stamps), float(chance.uniform(1.6, 4.2)))
    fast = _changing(chance, fasts, len(stamps), float(chance.uniform(0.4, 2.4)))
    seen = _changing(chance, ("yes", "no", "no"), len(stamps), 1.5)
    facts, truths = {}, []
    for stamp, (role, thing), (side, _), (edge, _) in zip(stamps, slow, fast, seen, strict=True):
        facts[stamp] = (
            FactValue("slow", role, thing, 0.12, edge == "yes", True),
            FactValue("fast", side, thing, 0.4, True, True),
        )
        truths.append(Truth(stamp, question, f"{role}, {side}"))
    path = Path(f"{dataset}_{scene:02d}")
    return DrawnStream(
        name=path.name,
        dataset=dataset,
        path=path,
        stamps=stamps,
        questions=((stamps[0], question),),
        truths=tuple(truths),
        facts=facts,
        problems=(),
        images=StreamImages(path),  # of which none is kept: they are drawn
    )


def make_runs(
    streams: Sequence[Stream], policies: Iterable[str] = POLICIES, delays: Iterable[str] = DELAYS, seed: int = 0
) -> list[Run]:
    return [make_run(stream, policy, delay, seed) for policy in policies for delay in delays for stream in streams]


def make_run(stream: Stream, policy: str, delay: str, seed: int = 0) -> Run:
    seconds = float(delay) if delay.replace(".", "").isdigit() else 4.0
    published = tuple(_play(stream, policy, seconds, seed))
    verdicts = judge(stream.truths, published)
    ages = tuple(
        (verdict.truth.stamp - verdict.answer.frame) / 1e9 if isinstance(verdict.answer, Said) else float("nan")
        for verdict in verdicts
    )
    duration = (stream.stamps[-1] - stream.stamps[0] + STEP) / 1e9
    calls = 0 if policy.startswith("edge_") else int(duration / 2)
    return Run(
        policy=policy,
        dataset=stream.dataset,
        scene=stream.name,
        split="test",
        delay=delay,
        seed=seed,
        published=published,
        correct=tuple(verdict.exact for verdict in verdicts),
        ages=ages,
        misses=sum(verdict.answer is None for verdict in verdicts),
        bytes_up=int(calls * (9000 if policy not in ("partitioned", "speculative") else 8200)),
        cloud_calls=calls,
        duration=duration,
        outcomes={},
    )


def _play(stream: Stream, policy: str, delay: float, seed: int) -> Iterable[Said]:
    question = stream.questions[0][1]
    chance = _chance(policy, stream.name, delay, seed)
    edge = {stamp: _edge_says(stream, stamp) for stamp in stream.stamps}
    cloud = {stamp: _cloud_says(stream, stamp) for stamp in stream.stamps}
    late = {"partitioned": 0.2, "speculative": 0.15, "offload_deadline": 0.1}.get(policy, 0.1)
    keys = stream.stamps[::10]
    arrivals = [(stamp + int((delay + late) * 1e9), stamp) for stamp in keys]
    if policy in ("cloud_only", "partitioned", "speculative"):
        for arrived, stamp in arrivals:
            yield Said(arrived, question, _both(cloud[stamp]), stamp, True)
        return

    def cloudy(age: int) -> float:
        """How likely the cloud's own words are shown, when their frame is so old."""
        if policy == "parallel_fuse":
            return float(age < (delay + late + 0.8) * 1e9)
        return (0.5 if delay < 2 else 0.12) if policy.startswith("offload_") else 0.0

    for stamp in stream.stamps:
        known = [key for arrived, key in arrivals if arrived <= stamp]
        said, when, about = edge[stamp], stamp + 40_000_000, stamp
        if policy == "cloud_oracle":
            said, when = cloud[stamp], stamp
        elif policy == "transfer_limit" and known and _same_thing(stream, known[-1], stamp):
            said, when = _truth(stream, stamp), stamp
        elif known and chance.random() < cloudy(stamp - known[-1]):
            said, about = cloud[known[-1]], known[-1]
        elif policy.startswith("edgevlm") and known:
            trust = {"edgevlm": 0.9, "edgevlm_no_focus": 0.7, "edgevlm_no_replacement": 0.45}.get(policy, 0.02)
            shown = _same_thing(stream, known[-1], stamp)
            if chance.random() < (trust if shown else 0.12 * trust):
                said = (cloud[known[-1]][0], said[1])
        yield Said(when, question, _both(said), about)


def _truth(stream: Stream, stamp: int) -> tuple[str, str]:
    return stream.facts[stamp][0].value, stream.facts[stamp][1].value


def _edge_says(stream: Stream, stamp: int) -> tuple[str, str]:
    chance = _chance("edge", stream.name, stamp)
    slow, fast = stream.facts[stamp]
    slows, fasts = DATASETS[stream.dataset]
    guess = str(slows[(slows.index(slow.value) + 1 + _chance("guess", stream.name, slow.object_id).integers(3)) % 4])
    knows = slow.edge_sees or _chance("easy", stream.name, slow.object_id).random() < 0.45
    return slow.value if knows else guess, fast.value if chance.random() < 0.95 else str(fasts[0])


def _cloud_says(stream: Stream, stamp: int) -> tuple[str, str]:
    slow, fast = _truth(stream, stamp)
    return (slow, fast) if _chance("cloud", stream.name, stamp).random() < 0.98 else ("unclear", fast)


def _same_thing(stream: Stream, earlier: int, now: int) -> bool:
    return stream.facts[earlier][0] == stream.facts[now][0]


def _changing(
    chance: np.random.Generator, values: Sequence[str], count: int, log_seconds: float
) -> list[tuple[str, int]]:
    """(value, number of the stretch) for each frame; stretches last around e to the log_seconds."""
    found: list[tuple[str, int]] = []
    while len(found) < count:
        length = max(1, int(np.exp(chance.normal(log_seconds, 0.9)) * 1e9 / STEP))
        others = [value for value in values if not found or value != found[-1][0]] or list(values)
        found += [(str(chance.choice(others)), found[-1][1] + 1 if found else 1)] * length
    return found[:count]


def _both(said: tuple[str, str]) -> str:
    return ", ".join(said)


def _chance(*names: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(names).encode()))

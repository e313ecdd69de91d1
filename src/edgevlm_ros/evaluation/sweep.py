# SPDX-License-Identifier: Apache-2.0
"""Policies x delays x seeds x scenes: a job for each scene, since that is where policies share what models say.

First the large model is asked, about whole scenes at once and never twice (replies.py); then each scene plays all that
is missing in runs.jsonl. Workers get everything by value and give everything back; only this side writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from edgevlm_ros.assets import model_path
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.evaluation.judge import ExactJudge, Judge
from edgevlm_ros.evaluation.large_model import LargeModel, Spoken
from edgevlm_ros.evaluation.latency import latency
from edgevlm_ros.evaluation.outcomes import Key, Run, append_runs, read_runs, write_runs
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.policies.registry import POLICIES
from edgevlm_ros.evaluation.remembering import PureEngine, RememberingEngine
from edgevlm_ros.evaluation.replies import Asked, Replies, append_replies, missing, read_replies, replies_file
from edgevlm_ros.evaluation.robot import Bridge, Robot
from edgevlm_ros.evaluation.scoring import scored
from edgevlm_ros.evaluation.simulation import Played, Scene
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.evaluation.timeline import Timeline
from edgevlm_ros.evaluation.timings import Timings
from edgevlm_ros.evaluation.workers import spread

_ASKED_AT_ONCE = 60  # frames in a job for the large model


@dataclass(frozen=True, slots=True)
class Means:
    """What a sweep is made with. device: of the large model. workers, ray: see workers.spread."""

    robot: Robot
    timings: Timings
    device: str = "auto"
    workers: int = 1
    ray: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One policy at one delay."""

    policy: str
    delay: str
    seed: int
    knobs: Knobs


@dataclass(frozen=True, slots=True)
class SceneJob:
    """Tasks in one scene. replies, strange: see simulation.Scene."""

    stream: Stream
    means: Means
    replies: Replies
    strange: Mapping[int, Spoken]
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class ReplyJob:
    """Frames to ask the large model about."""

    stream: Stream
    asked: tuple[Asked, ...]
    model: str
    bridge: Bridge
    device: str


# -- in a worker -----------------------------------------------------------------------------------------------------


@lru_cache(1)
def small_model(settings: EngineSettings) -> TransformersEngine:
    """The small model as the robot loads it, by the name that people give it; once in a process."""
    return load_engine(replace(settings, model=model_path(settings.model)))


@lru_cache(1)
def large_model(name: str, bridge: Bridge, device: str) -> LargeModel:
    return LargeModel(name, bridge, device)


def scene_of(job: SceneJob, seed: int, small: RememberingEngine) -> Scene:
    means = job.means
    robot = means.robot
    return Scene(
        job.stream,
        robot,
        small,
        lambda: large_model(robot.cloud_model, robot.bridge, means.device),
        job.replies,
        job.strange,
        means.timings,
        seed,
    )


def remembering(settings: EngineSettings) -> RememberingEngine:
    """The small model with a memory, for one scene."""
    return RememberingEngine(PureEngine(small_model(settings), settings))


def play_scene(job: SceneJob) -> list[Played]:
    """What became of each task, in their order."""
    small = remembering(job.means.robot.engine)
    scenes = {seed: scene_of(job, seed, small) for seed in {task.seed for task in job.tasks}}
    return [
        POLICIES[task.policy].play(scenes[task.seed], latency(task.delay, task.seed), task.knobs) for task in job.tasks
    ]


def ask_large(job: ReplyJob) -> dict[Asked, Spoken]:
    """What the large model says to each; the last frame's reply is the next one's draft, which saves half the time."""
    large = large_model(job.model, job.bridge, job.device)
    said: dict[Asked, Spoken] = {}
    drafts: dict[str, tuple[int, ...]] = {}
    for stamp, text in job.asked:
        said[stamp, text] = large.ask(job.stream.upload(stamp), text, draft=drafts.get(text, ()))
        drafts[text] = said[stamp, text].tokens
    return said


# -- on this side ----------------------------------------------------------------------------------------------------


def all_frames(stream: Stream) -> list[Asked]:
    """Every frame with the question that stands at it."""
    asked = ((stamp, stream.question_at(stamp)) for stamp in stream.stamps)
    return [(stamp, question.text) for stamp, question in asked if question is not None]


def keyframes(stream: Stream, tasks: Iterable[Task], means: Means) -> list[Asked]:
    """The frames that the bridge sends in any of the tasks."""
    links = {(task.delay, task.seed) for task in tasks}
    return [
        (call.stamp, call.question.text)
        for delay, seed in sorted(links)
        for call in Timeline(stream, means.robot.bridge, means.timings, seed).keyframes(latency(delay, seed))
    ]


def gather_replies(
    streams: Sequence[Stream], wanted: Mapping[str, Sequence[Asked]], means: Means, folder: Path
) -> dict[str, Replies]:
    """What the large model says to what is wanted of each stream, by the stream's name; asked for what is not yet on
    the disk."""
    robot = means.robot
    files = {stream.name: replies_file(folder, robot.cloud_model, robot.bridge, stream) for stream in streams}
    known = {name: read_replies(file) for name, file in files.items()}
    jobs = [
        ReplyJob(stream, part, robot.cloud_model, robot.bridge, means.device)
        for stream in streams
        for part in _parts(missing(wanted[stream.name], known[stream.name]))
    ]
    with tqdm(total=sum(len(job.asked) for job in jobs), desc="asking the large model", unit="frame") as bar:
        for place, replies in spread(ask_large, jobs, means.workers, means.ray) if jobs else ():
            name = jobs[place].stream.name
            append_replies(files[name], replies)
            known[name] |= replies
            bar.update(len(replies))
    return dict(known)


def known_replies(streams: Sequence[Stream], means: Means, folder: Path) -> dict[str, Replies]:
    """What is on the disk of what the large model said about each stream, by the stream's name."""
    robot = means.robot
    return {s.name: read_replies(replies_file(folder, robot.cloud_model, robot.bridge, s)) for s in streams}


def _parts(asked: Sequence[Asked]) -> Iterator[tuple[Asked, ...]]:
    rest = iter(asked)
    while part := tuple(islice(rest, _ASKED_AT_ONCE)):
        yield part


def play(
    streams: Sequence[Stream],
    tasks: Callable[[Stream], Sequence[Task]],
    means: Means,
    folder: Path,
    done: Callable[[Stream, Sequence[Task], Sequence[Played]], None],
    what: str = "evaluating",
) -> None:
    """Plays the tasks of each stream, and hands over what became of them as scenes are done. folder: for replies."""
    wanted = {stream.name: list(tasks(stream)) for stream in streams}
    every = [task for each in wanted.values() for task in each]
    if not every:
        return
    policies = {task.policy for task in every}
    hearing = means.robot.bridge.keyframes.mode != "period"  # which frames go up is known when it is played
    whole = hearing or any(POLICIES[name].all_frames for name in policies)
    asked = {s.name: all_frames(s) if whole else keyframes(s, every, means) for s in streams}
    others = {stream.name: another(streams, stream) for stream in streams}
    replies = gather_replies(streams, asked, means, folder)
    jobs = [
        SceneJob(
            stream,
            means,
            replies[stream.name],
            stand_ins(stream, others[stream.name], replies[others[stream.name].name]),
            tuple(wanted[stream.name]),
        )
        for stream in streams
        if wanted[stream.name]
    ]
    with tqdm(total=len(every), desc=what, unit="run") as bar:
        for place, played in spread(play_scene, jobs, means.workers, means.ray):
            done(jobs[place].stream, jobs[place].tasks, played)
            bar.update(len(played))


def another(streams: Sequence[Stream], stream: Stream) -> Stream:
    """The next scene of the same dataset, else the next one of any; the scene itself if it is alone."""
    place = next(index for index, each in enumerate(streams) if each is stream)
    following = [*streams[place + 1 :], *streams[:place]]
    same = [each for each in following if each.dataset == stream.dataset]
    return (same or following or [stream])[0]


def stand_ins(stream: Stream, other: Stream, replies: Replies) -> dict[int, Spoken]:
    """For each frame what was said at the same place of another scene; of the same one, half of it away."""
    said = dict(sorted((stamp, spoken) for (stamp, _), spoken in replies.items()))
    known = list(said)
    if not known:
        return {}
    shift = len(stream.stamps) // 2 if other is stream else 0
    stamps = other.stamps
    found = {}
    for place, stamp in enumerate(stream.stamps):
        there = stamps[(place + shift) % len(stamps)]
        nearest = min(known, key=lambda each: abs(each - there)) if there not in said else there
        found[stamp] = said[nearest]
    return found


def sweep(
    streams: Sequence[Stream],
    policies: Sequence[Policy],
    delays: Sequence[str],
    seeds: Sequence[int],
    split: str,
    knobs: Callable[[Policy, str], Knobs],
    means: Means,
    out: Path,
    judge: Judge | None = None,
) -> list[Run]:
    """Does what is missing in out/runs.jsonl of what is asked for, and returns all that is asked for.

    Raises JudgeError, WorkerError, and ValueError for a file that holds something else.
    """
    file = out / "runs.jsonl"
    finished = {run.key: run for run in read_runs(file)}

    def key(stream: Stream, task: Task) -> Key:
        return Key(task.policy, stream.dataset, stream.name, split, task.delay, task.seed)

    def asked(stream: Stream) -> list[Task]:
        return [
            Task(policy.name, delay, seed, knobs(policy, delay))
            for delay in delays
            for seed in seeds
            for policy in policies
        ]

    def due(stream: Stream) -> list[Task]:
        return [task for task in asked(stream) if key(stream, task) not in finished]

    def done(stream: Stream, tasks: Sequence[Task], played: Sequence[Played]) -> None:
        runs = [
            scored(stream, key(stream, task), each, judge or ExactJudge())
            for task, each in zip(tasks, played, strict=True)
        ]
        append_runs(file, runs)
        finished.update({run.key: run for run in runs})

    play(streams, due, means, out / "replies", done)
    if finished:
        write_runs(file, finished.values())
    wanted = sorted(key(stream, task) for stream in streams for task in asked(stream))
    return [finished[each] for each in wanted]

# SPDX-License-Identifier: Apache-2.0
"""`edgevlm evaluate`: how context transfer compares with every alternative, at every delay, on any bag."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgevlm_ros.arguments import count
from edgevlm_ros.cloud.prompt import REASONING_EFFORTS
from edgevlm_ros.evaluation.made_with import CLOUD_MODEL, DELAYS, EvaluateError
from edgevlm_ros.terminal import shown

if TYPE_CHECKING:
    from edgevlm_ros.evaluation.calibrated import Calibrated
    from edgevlm_ros.evaluation.judge import Judge
    from edgevlm_ros.evaluation.outcomes import Run
    from edgevlm_ros.evaluation.policies.policy import Policy
    from edgevlm_ros.evaluation.robot import Robot
    from edgevlm_ros.evaluation.streams import Stream
    from edgevlm_ros.evaluation.sweep import Means
    from edgevlm_ros.evaluation.timings import Timings

STREAMS = Path("runs/world/streams")
OUT = Path("runs/evaluate")
OWN = "own"  # the split of bags that are named
_BUSY = 1.25  # times as long as the processor worked, from which on measured times are doubted

_EPILOG = """
In virtual time: frames come at their stamps, the models take as long as was measured on this machine, replies come when
the delay model says so. The same seed gives the same bytes, and a sweep goes on where it was interrupted.

  edgevlm evaluate                                       the test streams of the world, all delays
  edgevlm evaluate --policies edge_only,edgevlm --delays 3,lognormal,trace:4g_drive
  edgevlm evaluate ~/bags/yard --question "Is the gate open?"     your own bag: latency and agreement
  edgevlm evaluate ~/bags/yard --annotations yard.jsonl           and with the truth, the full table
  edgevlm evaluate --policies edge_only,keyframes --delays 1,3    what a cloud call buys
  edgevlm evaluate --calibrate                           choose every policy's knobs on the val streams

The streams are rendered by `edgevlm world streams --split test` (and val). OUT gets results.json, results.md,
report.html and runs.jsonl, a line for each run.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, _EPILOG
    add = parser.add_argument
    add("bags", nargs="*", metavar="BAG", help=f"rosbag2, or a folder of them (default: {STREAMS}/SPLIT)")
    add(
        "--policies",
        default="",
        metavar="P,Q",
        help="names, ablations, keyframes or all (default: those that differ in more)",
    )
    add(
        "--delays", default=DELAYS, metavar="D,E", help="seconds, lognormal, dead, trace:NAME, trace:FILE (%(default)s)"
    )
    add("--seeds", type=_seeds, default=(0,), metavar="N,M", help="of compute times and random delays (0)")
    add("--split", choices=("test", "val"), help="of the world's streams (test; val with --calibrate)")
    add("--scenes", type=count, metavar="N", help="only so many of each dataset")
    add("--out", type=Path, default=OUT, metavar="FOLDER", help="for results, and to go on from (%(default)s)")
    add("--jobs", type=count, default=len(os.sched_getaffinity(0)), metavar="N", help="processes (%(default)s)")
    add("--ray", action="store_true", help="on a Ray cluster (RAY_ADDRESS), with the same results")
    add("--question", default="", metavar="TEXT", help="asked throughout, instead of the bags' own questions")
    add("--annotations", type=Path, metavar="FILE", help="annotations.jsonl with the truth about one bag")
    add("--image-topic", default="", metavar="TOPIC", help="of bags with several cameras")
    add("--edge-model", default="", metavar="MODEL", help="small model: bundled, folder or hub id (micro_svlm)")
    add("--cloud-model", default=CLOUD_MODEL, metavar="MODEL", help="large model, likewise (%(default)s)")
    add("--device", default="auto", help="of both models: auto, cpu, cuda or cuda:N (%(default)s)")
    add("--params", type=Path, metavar="FILE", help="the nodes' parameter file, if not the defaults")
    add(
        "--timings",
        type=Path,
        metavar="FILE",
        help="measured compute times (default: OUT/timings.json, made if needed)",
    )
    add("--judge-url", default="", metavar="URL", help="OpenAI-compatible server of a model that judges open answers")
    add("--judge-model", default="", metavar="NAME", help="that model; its key is in EDGEVLM_JUDGE_API_KEY")
    add("--judge-reasoning-effort", choices=REASONING_EFFORTS, default="default", help="how long it may think first")
    add("--judge-allow-http", action="store_true", help="allow http to a judge that is not this machine")
    add("--calibrate", action="store_true", help="choose the knobs on val, into config/evaluation.json")
    add("--knobs", type=Path, metavar="FILE", help="calibrated knobs to read or write (config/evaluation.json)")
    add("--date", default="", help="for the results' header; nothing else knows what day it is")
    parser.set_defaults(run=run)


def _seeds(text: str) -> tuple[int, ...]:
    seeds = tuple(int(part) for part in text.split(","))
    if min(seeds) < 0:
        raise argparse.ArgumentTypeError(f"{text}: it takes whole numbers, 0 or more")
    return tuple(dict.fromkeys(seeds))


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0, or 2 for what cannot be evaluated."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    from edgevlm_ros.assets import AssetError
    from edgevlm_ros.bag_types import BagError
    from edgevlm_ros.edge.engine import EngineError
    from edgevlm_ros.evaluation.judge import JudgeError
    from edgevlm_ros.evaluation.streams import StreamError
    from edgevlm_ros.evaluation.workers import WorkerError

    torch.set_num_threads(1)
    try:
        _evaluate(arguments)
    except (AssetError, BagError, EngineError, JudgeError, StreamError, WorkerError, OSError, ValueError) as error:
        print(f"edgevlm evaluate: {error}", file=sys.stderr)
        return 2
    return 0


def _evaluate(asked: argparse.Namespace) -> None:
    from edgevlm_ros.evaluation.calibrated import calibration_file, load_calibrated
    from edgevlm_ros.evaluation.judge import ExactJudge, ModelJudge
    from edgevlm_ros.evaluation.latency import latency
    from edgevlm_ros.evaluation.policies.registry import ABLATIONS, KEYFRAMES, POLICIES, chosen
    from edgevlm_ros.evaluation.robot import robot
    from edgevlm_ros.evaluation.sweep import Means

    if asked.calibrate and asked.split == "test":
        raise EvaluateError(
            "--calibrate --split test: knobs are chosen on val, or what they show on test is worth nothing"
        )
    split = asked.split or (OWN if asked.bags else "val" if asked.calibrate else "test")
    default = [name for name in POLICIES if name not in (*ABLATIONS, *KEYFRAMES)]
    policies = chosen(_names(asked.policies) or default)
    delays = _names(asked.delays)
    for delay in delays:
        latency(delay)
    device = "" if asked.device == "auto" else asked.device
    settings = robot(asked.params, asked.edge_model, asked.cloud_model, device)
    judge: Judge = ExactJudge()
    if asked.judge_url:
        judge = ModelJudge(
            asked.judge_url,
            asked.judge_model,
            allow_http=asked.judge_allow_http,
            reasoning_effort=asked.judge_reasoning_effort,
        )
    streams = _streams(asked, split)
    if not any(stream.facts for stream in streams):
        policies = tuple(policy for policy in policies if not policy.needs_facts)
    timings = _timings(asked, settings, streams)
    means = Means(settings, timings, asked.device, asked.jobs, asked.ray)
    knobs_file = asked.knobs or calibration_file()
    if asked.calibrate:
        _calibrate(asked, streams, policies, delays, means, knobs_file)
        return
    calibrated = load_calibrated(knobs_file)
    _sweep(asked, split, streams, policies, delays, means, calibrated, judge)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _streams(asked: argparse.Namespace, split: str) -> list[Stream]:
    """The bags, opened; what is wrong with them is told."""
    from tqdm import tqdm

    from edgevlm_ros.evaluation.streams import find_streams, open_stream
    from edgevlm_ros.evaluation.tuning import first_scenes

    folder = STREAMS / split
    if not asked.bags and not folder.is_dir():
        raise EvaluateError(
            f"{folder}: no streams yet. Render them with `edgevlm world streams --split {split}` "
            "(make setup-world), or name bags of your own"
        )
    from edgevlm_ros.assets import bag_path

    paths = find_streams([bag_path(name) for name in asked.bags] or [folder])
    if asked.annotations is not None and len(paths) > 1:
        raise EvaluateError(
            f"--annotations is about one bag, and {len(paths)} are named: put {asked.annotations.name} "
            "into each bag's folder as annotations.jsonl instead"
        )
    streams = [
        open_stream(path, question=asked.question, annotations=asked.annotations, image_topic=asked.image_topic)
        for path in tqdm(paths, desc="reading", unit="bag")
    ]
    names = [stream.name for stream in streams]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EvaluateError(f"two bags are called {twice[0]!r}: rename one, or evaluate them apart")
    for stream in streams:
        for problem in stream.problems:
            print(f"{stream.name}: {problem}", file=sys.stderr)
    return first_scenes(streams, asked.scenes) if asked.scenes else streams


def _timings(asked: argparse.Namespace, settings: Robot, streams: Sequence[Stream]) -> Timings:
    """Those of the file, else measured now and written there."""
    from tqdm import tqdm

    from edgevlm_ros.evaluation.replies import fingerprint
    from edgevlm_ros.evaluation.sweep import large_model, small_model
    from edgevlm_ros.evaluation.timings import BUSY, load_timings, measure
    from edgevlm_ros.machine import machine

    about = {
        "edge_model": fingerprint(settings.engine.model),
        "cloud_model": fingerprint(settings.cloud_model),
        "device": asked.device,
        **machine(),
    }
    file = asked.timings or asked.out / "timings.json"
    if file.exists():
        timings = load_timings(file)
        if asked.timings is None and {**timings.about, **about} != timings.about:
            changed = ", ".join(name for name in about if timings.about.get(name) != about[name])
            raise EvaluateError(
                f"{file} was measured with another {changed}: give another --out, or name the file with --timings"
            )
        return timings
    if asked.timings is not None:
        raise EvaluateError(f"--timings {file}: no such file; leave it out to measure now")
    small = small_model(settings.engine)
    large = large_model(settings.cloud_model, settings.bridge, asked.device)
    with tqdm(desc="measuring compute times", unit="frame") as bar:
        timings = measure(streams[0], settings, small, large, about, tell=bar.update)
    timings.save(file)
    if asked.device in ("auto", "cpu") and float(timings.about[BUSY]) > _BUSY:
        print(
            f"note: the machine was busy while compute times were measured, so they are too long: remove {shown(file)} "
            "and start again when it is quiet",
            file=sys.stderr,
        )
    return timings


def _calibrate(
    asked: argparse.Namespace,
    streams: Sequence[Stream],
    policies: Sequence[Policy],
    delays: Sequence[str],
    means: Means,
    file: Path,
) -> None:
    from dataclasses import asdict, replace

    from edgevlm_ros.evaluation.calibrated import joined, load_calibrated, save_calibrated
    from edgevlm_ros.evaluation.made_with import command, model_names
    from edgevlm_ros.evaluation.tuning import tune

    if not any(stream.truths for stream in streams):
        raise EvaluateError("knobs are chosen by what is right: these bags have no ground truth")
    found, tried = tune(streams, policies, delays, means, asked.out)
    about = {"command": command(asked), "date": asked.date, "scenes": len(streams), **model_names(means)}
    save_calibrated(file, joined(load_calibrated(file), replace(found, about=about)))
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "tried.json").write_text(json.dumps([asdict(each) for each in tried], indent=0) + "\n")
    for policy, chosen in found.chosen.items():
        for delay, knobs in chosen.items():
            told = {name: value for name, value in knobs.items() if name != "gains"}
            print(f"{policy:<22}{delay:<14}{told or 'defaults'}")
    print(f"written to {shown(file)}; all that was tried: {shown(asked.out / 'tried.json')}")


def _sweep(
    asked: argparse.Namespace,
    split: str,
    streams: Sequence[Stream],
    policies: Sequence[Policy],
    delays: Sequence[str],
    means: Means,
    calibrated: Calibrated,
    judge: Judge,
) -> None:
    from edgevlm_ros.evaluation.evidence_report import write_evidence
    from edgevlm_ros.evaluation.made_with import bag_ingredients, command, ingredients, model_names, same_as_before
    from edgevlm_ros.evaluation.notes import notes
    from edgevlm_ros.evaluation.sweep import known_replies, sweep
    from edgevlm_ros.machine import machine, versions

    models = model_names(means)
    same_as_before(asked.out, ingredients(means, calibrated, judge.name, asked.question), bag_ingredients(streams))
    runs = sweep(streams, policies, delays, asked.seeds, split, calibrated.knobs, means, asked.out, judge)
    header = {
        "command": command(asked),
        **({"date": asked.date} if asked.date else {}),
        **models,
        "judge": judge.name,
        "knobs": calibrated.about or "defaults: nothing was calibrated",
        "machine": machine(),
        "versions": versions(),
        "timings": dict(means.timings.about),
    }
    if calibrated.about and any(calibrated.about.get(kind) != model for kind, model in models.items()):
        print("note: the knobs were calibrated with other models; see edgevlm evaluate --calibrate", file=sys.stderr)
    known = notes(streams, means.robot, known_replies(streams, means, asked.out / "replies"))
    write_evidence(runs, streams, asked.out, header=header, notes=known)
    print(table(runs))
    for note in known:
        print(f"note: {note}", file=sys.stderr)
    print(f"the report: {shown(asked.out / 'report.html')}, with results.json and results.md beside it")


def table(runs: Sequence[Run]) -> str:
    """Streaming accuracy by policy and delay, all scenes together, for a terminal."""
    from edgevlm_ros.evaluation.results import Results

    results = Results(runs)
    if not results.judged:
        return "no ground truth: see the report for latency and for how often edge and cloud agree"
    delays = results.delays
    lines = [f"{'streaming accuracy, %':<26}" + "".join(f"{delay[-12:]:>13}" for delay in delays)]
    for policy in results.policies:
        found = [results.accuracy(policy, delay) for delay in delays]
        cells = [f"{100 * each.value:.1f}" if each else "-" for each in found]
        lines.append(f"{policy:<26}" + "".join(f"{cell:>13}" for cell in cells))
    return "\n".join(lines)

# SPDX-License-Identifier: Apache-2.0
"""`edgevlm convert`: published sets of questions about driving, or your own video and questions, as annotated bags.

Nothing is downloaded and nothing of a dataset comes with this software: get the files from their authors and agree to
their licence first. The bags hold their pictures, so the same licence is on the bags.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from edgevlm_ros.arguments import count
from edgevlm_ros.bag_types import BagError
from edgevlm_ros.datasets.annotated_bag import write_clip
from edgevlm_ros.datasets.clip import Clip, DatasetError
from edgevlm_ros.evaluation.problems import Problems
from edgevlm_ros.evaluation.streaming import normalised
from edgevlm_ros.nearest import nearest

Reader = Callable[[argparse.Namespace, Problems], Iterable[Clip]]

_NUSCENES = "nuScenes is CC BY-NC-SA 4.0 with terms of use of its own (nuscenes.org): not for commercial use."
_LICENCES = {
    "nuscenes": f"{_NUSCENES} NuScenes-QA's repository is under the MIT licence.",
    "drivelm": f"{_NUSCENES} DriveLM's questions are CC BY-NC-SA 4.0.",
    "bddx": "The videos are under BDD100K's licence (bdd-data.berkeley.edu), the texts under UC Berkeley's: for "
    "education and research, not for profit.",
    "lingoqa": "LingoQA is Wayve's, not for commercial use; no model trained on it may help to operate a vehicle or a "
    "robot (github.com/wayveai/LingoQA, LICENCE).",
    "video": "Your video and your questions: whoever is in the picture may have a say.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    datasets = parser.add_subparsers(metavar="DATASET", required=True)

    nuscenes = _dataset(datasets, "nuscenes", "nuScenes with the questions of NuScenes-QA", _nuscenes)
    _nuscenes_options(nuscenes, "NuScenes_val_questions.json or NuScenes_train_questions.json")
    drivelm = _dataset(datasets, "drivelm", "nuScenes with the questions of DriveLM", _drivelm)
    _nuscenes_options(drivelm, "v1_1_train_nus.json, or another release")

    bddx = _dataset(datasets, "bddx", "BDD-X: what the car does, and why", _bddx)
    bddx.add_argument("annotations", type=Path, metavar="CSV", help="BDD-X-Annotations_v1.csv")
    bddx.add_argument("--videos", type=Path, required=True, metavar="FOLDER", help="of the .mov files of BDD100K")
    _add_rate(bddx)

    lingoqa = _dataset(datasets, "lingoqa", "LingoQA: segments of five pictures", _lingoqa)
    lingoqa.add_argument(
        "annotations", type=Path, metavar="FILE", help="val.parquet (needs pyarrow), or its rows as .json"
    )
    lingoqa.add_argument(
        "--images", type=Path, metavar="FOLDER", help="where the paths in it begin (default: beside it)"
    )

    video = _dataset(datasets, "video", "a video of your own with a CSV of questions", _video)
    video.add_argument("video", type=Path, help="anything that FFmpeg can decode")
    video.add_argument(
        "questions", type=Path, metavar="CSV", help="columns from (or time), until, question, answer, and label, box"
    )
    _add_rate(video)


def _dataset(datasets: Any, name: str, summary: str, reader: Reader) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = datasets.add_parser(
        name,
        help=summary,
        description=f"{summary}, as annotated bags for `edgevlm evaluate`. Nothing is downloaded.",
        epilog=f"Licence: {_LICENCES[name]} The bags are under it too.",
    )
    parser.add_argument("--to", type=Path, required=True, metavar="BAG", help="bag to make; of several, their folder")
    if name != "video":
        parser.add_argument(
            "--scenes", nargs="+", default=[], metavar="NAME", help="only these scenes, videos or segments"
        )
        parser.add_argument("--limit", type=count, metavar="N", help="at most so many bags")
    parser.add_argument("--ask", default="", metavar="TEXT", help="only the answers to this question")
    parser.add_argument("--width", type=count, default=640, metavar="PIXELS", help="at most (default: 640)")
    parser.set_defaults(run=run, reader=reader)
    return parser


def _nuscenes_options(parser: argparse.ArgumentParser, questions: str) -> None:
    parser.add_argument("root", type=Path, help="folder that has samples, sweeps and v1.0-mini or v1.0-trainval")
    parser.add_argument("--questions", type=Path, required=True, metavar="JSON", help=questions)
    parser.add_argument("--version", default="v1.0-trainval", help="folder of the tables (default: v1.0-trainval)")
    parser.add_argument("--camera", default="CAM_FRONT", help="one of the six (default: CAM_FRONT)")
    parser.add_argument(
        "--types", nargs="+", default=[], metavar="TYPE", help="of questions: exist, count, perception, ..."
    )
    parser.add_argument("--keyframes", action="store_true", help="2 Hz instead of 12: leave the sweeps out")


def _add_rate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=count, default=5, metavar="HZ", help="frames per second (default: 5)")


def run(arguments: argparse.Namespace) -> int:
    problems = Problems()
    try:
        found = arguments.reader(arguments, problems)
        chosen = list(islice(asked(found, arguments.ask), getattr(arguments, "limit", None)))
        if not chosen:
            for line in problems.lines():
                print(f"  {line}", file=sys.stderr)
            raise DatasetError("nothing is asked about what is chosen: do --scenes, --types and the questions fit?")
        written = _write(chosen, arguments.to, arguments.width, problems)
    except BagError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _tell(written, len(chosen), arguments.to, problems)
    return 0


def asked(clips: Iterable[Clip], question: str) -> Iterator[Clip]:
    """With the answers to this question only, and only clips that have some. Raises DatasetError if none has."""
    others: set[str] = set()
    found = False
    for clip in clips:
        kept = [each for each in clip.answers if not question or normalised(each.question) == normalised(question)]
        if kept:
            found = True
            yield replace(clip, answers=tuple(kept))
        others |= {each.question for each in clip.answers}
    if question and not found:
        like = nearest(question, others, 3)
        raise DatasetError(f"nobody asks {question!r}{'; near it: ' if like else ''}{', '.join(map(repr, like))}")


def _write(clips: Sequence[Clip], to: Path, width: int, problems: Problems) -> Counter[str]:
    """One bag at `to`, or a folder of several there."""
    to = to.expanduser()
    if len(clips) == 1:
        return write_clip(clips[0], to, width, problems)
    to.mkdir(parents=True, exist_ok=True)
    written: Counter[str] = Counter()
    for clip in clips:
        written += write_clip(clip, to / clip.name, width, problems)
    return written


def _tell(written: Counter[str], bags: int, to: Path, problems: Problems) -> None:
    frames = written.pop("", 0)
    print(f"{to}: {bags} bag{'s' * (bags > 1)}, {frames} frames, {len(written)} questions")
    for question, seen in written.most_common(5):
        print(f"  {seen:6} frames  {question}")
    for line in problems.lines():
        print(f"  {line}")
    print(f"next: edgevlm evaluate {to}")


def _nuscenes(arguments: argparse.Namespace, problems: Problems) -> Iterable[Clip]:
    from edgevlm_ros.datasets import nuscenes

    questions = nuscenes.nuscenes_qa(arguments.questions, arguments.types)
    scenes = nuscenes.read_scenes(arguments.root, arguments.version, arguments.camera, arguments.keyframes)
    return nuscenes.clips(nuscenes.chosen_scenes(scenes, arguments.scenes), questions, problems)


def _drivelm(arguments: argparse.Namespace, problems: Problems) -> Iterable[Clip]:
    from edgevlm_ros.datasets import drivelm, nuscenes

    nuscenes.check_types(arguments.questions, arguments.types, set(drivelm.TYPES))
    frames = drivelm.read_frames(arguments.questions)
    scenes = nuscenes.read_scenes(arguments.root, arguments.version, arguments.camera, arguments.keyframes)
    chosen = nuscenes.chosen_scenes(scenes, arguments.scenes)
    return drivelm.clips(chosen, frames, arguments.camera, arguments.types, arguments.width, problems)


def _bddx(arguments: argparse.Namespace, problems: Problems) -> Iterable[Clip]:
    from edgevlm_ros.datasets import bddx

    return bddx.clips(arguments.annotations, arguments.videos, arguments.scenes, arguments.rate, problems)


def _lingoqa(arguments: argparse.Namespace, problems: Problems) -> Iterable[Clip]:
    from edgevlm_ros.datasets import lingoqa

    folder = arguments.images or arguments.annotations.parent
    return lingoqa.clips(arguments.annotations, folder, arguments.scenes, problems)


def _video(arguments: argparse.Namespace, problems: Problems) -> Iterable[Clip]:
    from edgevlm_ros.datasets import video_questions

    answers = video_questions.read_questions(arguments.questions)
    return [video_questions.video_clip(arguments.video.stem, arguments.video, answers, arguments.rate)]

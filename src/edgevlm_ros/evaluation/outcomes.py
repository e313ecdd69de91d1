# SPDX-License-Identifier: Apache-2.0
"""What a policy did in one scene, and what it was worth: the line on disk that every table and plot is made of.

A sweep of hours must survive an interruption. Each run is one line of runs.jsonl, written when it is done; a line that
was torn by a crash is dropped and its run is done again.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from edgevlm_ros.evaluation.streaming import Published
from edgevlm_ros.transfer.types import Question


class Key(NamedTuple):
    """What tells runs apart."""

    policy: str
    dataset: str
    scene: str
    split: str
    delay: str
    seed: int


@dataclass(frozen=True, slots=True)
class Said(Published):
    """An answer of a policy. frame: capture time of the frame that it is about, nanoseconds. cloud: whether the words
    are the LVLM's own."""

    frame: int
    cloud: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One policy in one scene at one delay.

    delay: its name on the command line. published: Said, in order of time. correct: for each ground truth in order of
    time the score in 0..1 of the newest answer. ages: for each of them the seconds since the capture of the frame that
    this answer is about, NaN if there was none; their number is `misses`. duration: seconds of stream. outcomes: counts
    of whatever else happened, by name.
    """

    policy: str
    dataset: str
    scene: str
    split: str
    delay: str
    seed: int
    published: tuple[Published, ...]
    correct: tuple[float, ...]
    ages: tuple[float, ...]
    misses: int
    bytes_up: int
    cloud_calls: int
    duration: float
    outcomes: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return Key(self.policy, self.dataset, self.scene, self.split, self.delay, self.seed)

    def line(self) -> str:
        """As a line of JSON. Texts and questions are written once, the answers refer to them."""
        texts = list(dict.fromkeys(said.text for said in self.published))
        questions = list(dict.fromkeys(said.question.text for said in self.published))
        rows = [
            [
                said.published,
                questions.index(said.question.text),
                texts.index(said.text),
                *([said.frame, int(said.cloud)] if isinstance(said, Said) else []),
            ]
            for said in self.published
        ]
        values = {
            **self.key._asdict(),
            "duration": self.duration,
            "misses": self.misses,
            "bytes_up": self.bytes_up,
            "cloud_calls": self.cloud_calls,
            "outcomes": dict(sorted(self.outcomes.items())),
            "correct": [round(score, 4) for score in self.correct],
            "ages": [None if math.isnan(age) else round(age, 4) for age in self.ages],
            "questions": questions,
            "texts": texts,
            "published": rows,
        }
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"


def run_of(line: str) -> Run:
    """The run of a line. Raises ValueError if it is none."""
    try:
        values: dict[str, Any] = json.loads(line)
        questions = [Question(text) for text in values["questions"]]
        return Run(
            **{name: values[name] for name in Key._fields},
            published=tuple(_published(row, questions, values["texts"]) for row in values["published"]),
            correct=tuple(map(float, values["correct"])),
            ages=tuple(math.nan if age is None else float(age) for age in values["ages"]),
            misses=int(values["misses"]),
            bytes_up=int(values["bytes_up"]),
            cloud_calls=int(values["cloud_calls"]),
            duration=float(values["duration"]),
            outcomes=values["outcomes"],
        )
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"not a run: {error!r}") from error


def _published(row: Sequence[int], questions: Sequence[Question], texts: Sequence[str]) -> Published:
    published, question, text, *about = row
    if about:
        return Said(published, questions[question], texts[text], about[0], bool(about[1]))
    return Published(published, questions[question], texts[text])


def read_runs(path: Path) -> list[Run]:
    """The whole runs of a file, none if there is no file. A torn line, which only the last can be, is cut off the file,
    so that what is appended stands on a line of its own. Raises ValueError for another line that is not a run."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    runs = []
    for number, line in enumerate(data[:whole].decode().split("\n")[:-1], 1):
        try:
            runs.append(run_of(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}; remove the file to begin anew") from error
    return runs


def append_runs(path: Path, runs: Iterable[Run]) -> None:
    """Adds runs to a file, on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(run.line() for run in runs)
        file.flush()
        os.fsync(file.fileno())


def write_runs(path: Path, runs: Iterable[Run]) -> None:
    """Writes a file anew in order of the keys, so that the same runs make the same bytes, whoever was done first."""
    part = path.with_suffix(".part")
    part.write_text("".join(run.line() for run in sorted(runs, key=lambda run: run.key)), encoding="utf-8")
    part.replace(path)

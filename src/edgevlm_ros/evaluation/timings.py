# SPDX-License-Identifier: Apache-2.0
"""How long the models take on this machine, measured once and then drawn from by every simulated frame.

In virtual time nothing waits for a model, so its time has to be put in. A draw is a function of the seed, the scene and
the frame: the same seed and the same file give the same run, and every policy meets the same slow frames.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgevlm_ros.edge.engine import Engine
from edgevlm_ros.evaluation.large_model import LargeModel, parsed
from edgevlm_ros.evaluation.robot import Robot
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.types import CloudContext, Outcome, Question, Region, Status

EDGE, TOLD, FOCUSED, TAKE_IN = "edge", "edge_told", "edge_focused", "take_in"
CLOUD, CLOUD_EYES, CLOUD_TOKEN = "cloud", "cloud_eyes", "cloud_token"
KINDS = (EDGE, TOLD, FOCUSED, TAKE_IN, CLOUD, CLOUD_EYES, CLOUD_TOKEN)
BUSY = "seconds per second of processor time"
_WARM_UP = 3
_LATE_FRAMES, _EVERY = 15, 5  # contexts come so late and so often: 3 s and 1 s at 5 Hz


@dataclass(frozen=True, slots=True)
class Timings:
    """Samples in seconds, by kind.

    edge: an answer of the small model to a frame, from its pixels to the published words; edge_told: with the cloud's
    words in the history; edge_focused: also with regions to look at. take_in: a context, until frames know of it.
    cloud: a reply of the large model; cloud_eyes: of that, its vision encoder; cloud_token: each token that it decodes.
    about: machine and models, for people and to see whether the samples still hold; and how much longer than the
    processor worked it took, which is 1 on a machine that has nothing else to do.
    """

    samples: Mapping[str, tuple[float, ...]]
    about: Mapping[str, str]

    def draw(self, kind: str, *where: int) -> float:
        """Seconds. where: whole numbers >= 0 that tell the occasion: seed, scene, stamp."""
        samples = self.samples[kind]
        generator = np.random.default_rng([zlib.crc32(kind.encode()), *where])
        return samples[int(generator.integers(len(samples)))]

    def save(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        values = {"about": dict(self.about), "seconds": {kind: list(each) for kind, each in self.samples.items()}}
        file.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def load_timings(file: Path) -> Timings:
    """Raises ValueError for a file that holds no timings."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        samples = {kind: tuple(float(seconds) for seconds in values["seconds"][kind]) for kind in KINDS}
        about = {str(name): str(value) for name, value in values["about"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: no timings in it ({error!r}): remove it, and they are measured anew") from error
    if not all(each and min(each) >= 0 for each in samples.values()):
        raise ValueError(f"{file}: a kind has no samples or negative ones: remove it, and they are measured anew")
    return Timings(samples, about)


def measure(
    stream: Stream,
    robot: Robot,
    small: Engine,
    large: LargeModel,
    about: Mapping[str, str],
    frames: int = 40,
    tell: Callable[[], object] = lambda: None,
) -> Timings:
    """Asks both models about consecutive frames of a stream that have a question, as robot and cloud would.

    tell: called after each frame.
    """
    stamps = [stamp for stamp in stream.stamps if stream.question_at(stamp) is not None][: frames + _WARM_UP]
    if not stamps:
        raise ValueError(f"{stream.path}: no frame has a question, so there is nothing to measure on")
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    began, worked = time.perf_counter(), time.process_time()
    told = replace(robot.replacement, enabled=True, min_similarity=0.0)
    rules = {
        EDGE: (replace(told, enabled=False), Focus("none")),
        TOLD: (told, Focus("none")),
        FOCUSED: (told, replace(robot.focus, min_confidence=0.0)),
    }
    pipelines = {kind: Pipeline(small, Question(""), *rule) for kind, rule in rules.items()}
    for pipeline in pipelines.values():
        pipeline.choices = robot.choices
    contexts: list[CloudContext] = []
    late = min(_LATE_FRAMES, len(stamps) // 3)
    for place, stamp in enumerate(stamps):
        question = stream.question_at(stamp) or Question("")
        contexts.append(_asked(stream, stamp, question, robot, large, found))
        for kind, pipeline in pipelines.items():
            pipeline.set_question(question)
            if place >= late and place % _EVERY == 0:
                start = time.perf_counter()
                outcome = pipeline.on_context(contexts[place - late])
                if kind == FOCUSED and outcome is Outcome.APPLIED:
                    found[TAKE_IN].append(time.perf_counter() - start)
            start = time.perf_counter()
            answer = pipeline.on_frame(stream.frame(stamp))
            taken = time.perf_counter() - start
            if kind == (FOCUSED if answer.focus is not None else TOLD if answer.context is not None else EDGE):
                found[kind].append(taken)
        tell()
    for kind, instead in ((TOLD, EDGE), (FOCUSED, TOLD), (TAKE_IN, EDGE)):  # of a robot that does without
        found[kind] = found[kind] or found[instead]
    busy = (time.perf_counter() - began) / max(time.process_time() - worked, 1e-6)
    return Timings({kind: _rounded(each) for kind, each in found.items()}, {**about, BUSY: f"{busy:.2f}"})


def _asked(
    stream: Stream, stamp: int, question: Question, robot: Robot, large: LargeModel, found: dict[str, list[float]]
) -> CloudContext:
    """Asks the large model about a frame, notes its times, and gives its reply; with a region, whatever it says."""
    upload = stream.upload(stamp)
    start = time.perf_counter()
    done = large.complete(upload, question.text)
    found[CLOUD].append(time.perf_counter() - start)
    found[CLOUD_EYES].append(done.timings.prepare + done.timings.vision)
    found[CLOUD_TOKEN].append(done.timings.decode / max(len(done.tokens), 1))
    reply = parsed(done.text, upload, robot.bridge)
    width, height = upload.source_width, upload.source_height
    middle = Region("", 1.0, width / 3, height / 3, 2 * width / 3, 2 * height / 3)
    text, regions = (reply.text, reply.regions) if reply is not None else ("nothing", ())
    return CloudContext(stamp, 0, question.id, Status.OK, text, regions or (middle,), width, height)


def _rounded(samples: Sequence[float]) -> tuple[float, ...]:
    """Microseconds, without the first ones, which were slow."""
    return tuple(round(seconds, 6) for seconds in samples[_WARM_UP if len(samples) > 2 * _WARM_UP else 0 :])

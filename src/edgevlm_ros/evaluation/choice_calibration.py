# SPDX-License-Identifier: Apache-2.0
"""Probabilities of choices that can be believed: a temperature, fitted for one model on streams whose truth is known.

Networks are surer than they are right. One temperature for all logarithms of probabilities mends most of that and
changes no answer (Guo et al.: "On Calibration of Modern Neural Networks", ICML 2017). It is fitted by least negative
log-likelihood (NLL) and told with the expected calibration error (ECE): how far, in the mean, the share of right
answers is from what was promised. A question of the world is weighed with all answers that it can have: those true in
the streams alone would tell what does not occur there. Another question has no more than those, and is told as such.

  python -m edgevlm_ros.evaluation.choice_calibration micro_svlm --streams runs/world/streams/val
  python -m edgevlm_ros.evaluation.choice_calibration micro_svlm --streams runs/world/streams/test --check 0.8
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgevlm_ros.assets import AssetError, model_path
from edgevlm_ros.edge.engine import Engine, EngineError, Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.preset import load_preset, save_preset
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.evaluation.plots import FAINT, INK, STYLE
from edgevlm_ros.evaluation.streaming import matches
from edgevlm_ros.evaluation.streams import Stream, StreamError, find_streams, open_stream
from edgevlm_ros.terminal import shown
from edgevlm_ros.world import questions

_BINS = 10
_TEMPERATURES = np.geomspace(0.05, 20.0, 200)  # 3 % apart


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """One question about one frame. scores: (choices,) logarithms of their probabilities at temperature 1. right: index
    of the true one. free: whether the free answer was right; times in seconds, the frame having been seen before."""

    scores: NDArray[np.float64]
    right: int
    free: bool
    seconds: float
    free_seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one temperature. reliability: for each bin of confidence that has any its mean, the share right, and count."""

    accuracy: float
    nll: float
    ece: float
    reliability: tuple[tuple[float, float, int], ...]


def possible(streams: Sequence[Stream]) -> dict[str, tuple[str, ...]]:
    """The answers to each question: the world's own, else what is true somewhere in the streams."""
    true: dict[str, dict[str, None]] = {}
    for truth in (truth for stream in streams for truth in stream.truths):
        true.setdefault(truth.question.text, {})[truth.answer] = None
    closed = {text: questions.answers(text) for text in true if text in questions.ALL}
    return {
        text: closed[text] if set(known) <= set(closed.get(text, ())) else tuple(known) for text, known in true.items()
    }


def weigh(engine: TransformersEngine, streams: Sequence[Stream], frames: int) -> list[Weighed]:
    """So many frames of each stream, spread over it. engine: at temperature 1. What is told is the question alone."""
    answers = possible(streams)
    found: list[Weighed] = []
    for stream in streams:
        truths = [truth for truth in stream.truths if len(answers[truth.question.text]) > 1]
        for truth in truths[:: max(1, len(truths) // frames)][:frames]:
            choices = answers[truth.question.text]
            image = stream.frame(truth.stamp).image
            plain = Prompt((), (image,), truth.question.text)
            engine.see(image)
            ways = [
                partial(engine.complete, plain, draft=()),
                partial(engine.complete, replace(plain, choices=choices)),
            ]
            turn = -1 if len(found) % 2 else 1  # neither way always comes second, to warm caches
            free, closed = [way() for way in ways[::turn]][::turn]
            scores = np.log(np.maximum(closed.probabilities, 1e-300))
            right = matches(free.text, truth.answer)
            times = (one.timings.prefill + one.timings.decode for one in (closed, free))
            found.append(Weighed(scores, choices.index(truth.answer), right, *times))
    return found


def fitted(weighed: Sequence[Weighed]) -> float:
    """The temperature of the least NLL, which has one minimum."""
    return float(min(_TEMPERATURES, key=lambda temperature: figures(weighed, temperature).nll))


def figures(weighed: Sequence[Weighed], temperature: float) -> Figures:
    """ECE in ten bins of equal width of the chosen answer's probability."""
    logs = [one.scores / temperature for one in weighed]
    logs = [each - np.logaddexp.reduce(each) for each in logs]
    right = np.array([int(each.argmax()) == one.right for each, one in zip(logs, weighed, strict=True)])
    confidence = np.array([np.exp(each.max()) for each in logs])
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    reliability = tuple(
        (float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for inside in (bins == number for number in range(_BINS))
        if inside.any()
    )
    return Figures(
        accuracy=float(right.mean()),
        nll=float(-np.mean([each[one.right] for each, one in zip(logs, weighed, strict=True)])),
        ece=sum(count * abs(promised - kept) for promised, kept, count in reliability) / len(weighed),
        reliability=reliability,
    )


def draw(curves: Sequence[tuple[float, Figures]], path: Path) -> None:
    """The reliability diagram of some temperatures."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.0, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=INK, lw=0.7, ls=":")
        for (temperature, found), colour in zip(curves, ("#94a3b8", "#2563eb"), strict=False):
            promised, kept, _ = zip(*found.reliability, strict=True)
            label = f"T = {temperature:.2f}: ECE {found.ece:.3f}"
            axes.plot(promised, kept, color=colour, lw=1.6, marker="o", ms=4, label=label)
        axes.set_xlabel("probability of the chosen answer")
        axes.set_ylabel("share that is right")
        axes.grid(color=FAINT, lw=0.4)
        axes.legend()
        figure.savefig(path, dpi=150)


def told(weighed: Sequence[Weighed], temperatures: Sequence[float]) -> str:
    """The figures for a terminal."""
    free = statistics.mean(one.free for one in weighed)
    lines = [f"{len(weighed)} frames; right in free words: {free:.1%}"]
    for temperature in temperatures:
        found = figures(weighed, temperature)
        lines.append(f"T {temperature:.2f}: {found.accuracy:.1%} right, NLL {found.nll:.3f}, ECE {found.ece:.3f}")
    one, other = (1e3 * statistics.median(getattr(w, name) for w in weighed) for name in ("free_seconds", "seconds"))
    return "\n".join(
        [*lines, f"median time behind the vision: free without a draft {one:.1f} ms, choices {other:.1f} ms"]
    )


def _engine(model: str) -> TransformersEngine:
    engine: Engine = load_engine(EngineSettings(model_path(model), threads=1))
    assert isinstance(engine, TransformersEngine)
    if not engine.capabilities.choices:
        raise EngineError(f"{engine.name} cannot weigh choices, so there is nothing to calibrate")
    return engine


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a bundled model's name, a folder in Hugging Face layout, or a hub id")
    parser.add_argument("--streams", nargs="+", required=True, help="bags with truths, or folders of such")
    parser.add_argument("--frames", type=int, default=60, help="of each stream (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/choices"), help="for the diagram (%(default)s)")
    parser.add_argument("--check", type=float, metavar="T", help="this temperature on these streams; fit nothing")
    parser.add_argument("--dry-run", action="store_true", help="leave the preset as it is")
    asked = parser.parse_args(arguments)
    if asked.check is not None and not 0.0 < asked.check < float("inf"):
        parser.error(f"--check {asked.check}: a temperature is above 0")
    try:
        weighed = weigh(_engine(asked.model), [open_stream(path) for path in find_streams(asked.streams)], asked.frames)
    except (AssetError, EngineError, StreamError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not weighed:
        print("error: no question of these streams has two answers that are known to be true", file=sys.stderr)
        return 2
    preset = load_preset(asked.model)
    temperature = round(fitted(weighed), 3) if asked.check is None else asked.check
    print(told(weighed, (1.0, temperature)))
    asked.out.mkdir(parents=True, exist_ok=True)
    picture = asked.out / f"{Path(asked.model).name}.png"
    draw([(value, figures(weighed, value)) for value in (1.0, temperature)], picture)
    print(f"the reliability diagram: {shown(picture)}")
    if asked.check is None and not asked.dry_run:
        now = figures(weighed, temperature)
        measured = f"{datetime.date.today().isoformat()}, {len(weighed)} frames: NLL {now.nll:.3f}, ECE {now.ece:.3f}"
        preset = replace(preset, choice_temperature=temperature, choices_measured=measured)
        print(f"the preset: {shown(save_preset(asked.model, preset))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

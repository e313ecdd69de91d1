# SPDX-License-Identifier: Apache-2.0
"""How strongly attention focus may pull before the words go unheard: beta, measured for one model.

The bias raises what the region gets of a softmax, and whatever it gets is taken from all else: from the rest of the
frame, as is meant, and from the question and the history, as is not. So beta is the strongest at which the text still
keeps a stated share of the attention that it has without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.evaluation.annotated_frames import AnnotatedFrame
from edgevlm_ros.evaluation.streaming import matches
from edgevlm_ros.transfer.conversation import worded
from edgevlm_ros.transfer.focus import Focus, focus_map
from edgevlm_ros.transfer.pruning import sampled
from edgevlm_ros.transfer.types import Question, Region, Source, Turn

SWEEP = tuple(0.25 * step for step in range(21))
_AGE_NS = 1_000_000_000  # of the cloud's words in the prompt
_DEFAULT_QUESTION = Question("What is in front of the camera?")


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the attention of the answer's positions, mean over heads, layers, positions and frames; together 1.

    region: visual tokens that the region touches. elsewhere: other visual tokens. text: all else.
    """

    beta: float
    region: float
    elsewhere: float
    text: float


@dataclass(frozen=True, slots=True)
class Case:
    """One frame to measure on. answer: the right one, "" if unknown."""

    prompt: Prompt
    answer: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """curve: in order of beta, from 0. changed: share of frames that are answered otherwise at the chosen beta than at
    0. right, right_before: share of frames answered right at the chosen beta and at 0, None where the truth is unknown.
    """

    beta: float
    curve: tuple[Shares, ...]
    frames: int
    changed: float
    right: float | None
    right_before: float | None

    @property
    def chosen(self) -> Shares:
        return next(shares for shares in self.curve if shares.beta == self.beta)


def cases(
    engine: TransformersEngine, frames: Sequence[AnnotatedFrame], question: str = "", seed: int = 0
) -> list[Case]:
    """A prompt for each frame, as when a cloud answer has come in: its words in the history, its region to look at.

    Where the bag knows no region, a random box is taken; where it knows no answer, there is no history.
    """
    rng, rule, made = np.random.default_rng(seed), Focus("attention"), []
    for one in frames:
        frame, asked = one.frame, Question(question) if question else one.question or _DEFAULT_QUESTION
        known = one.answer if one.question == asked else ""
        turns = [Turn(frame.stamp - _AGE_NS, asked, known, Source.CLOUD)] if known else []
        history, words = worded(turns, asked.text, frame.stamp)
        regions = one.regions or (_random_region(rng, frame.width, frame.height),)
        grid = engine.grid(frame.width, frame.height)
        focus = focus_map(regions, frame.stamp, frame.width, frame.height, grid, rule)
        if focus is not None and focus.grid.any():
            made.append(Case(Prompt(history, (frame.image,), words, focus=focus.grid), known))
    return made


def _random_region(rng: np.random.Generator, width: int, height: int) -> Region:
    w, h = rng.uniform(0.1, 0.4, 2) * (width, height)
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return Region("", 1.0, x, y, x + w, y + h)


def choose(curve: Sequence[Shares], keep_text: float) -> float:
    """The strongest beta up to which the text keeps at least this share of what it has at the curve's first point."""
    least = keep_text * curve[0].text
    return list(takewhile(lambda shares: shares.text >= least, curve))[-1].beta


def calibrate(
    engine: TransformersEngine,
    made: Sequence[Case],
    keep_text: float,
    layers: Sequence[int] = (),
    sweep: Sequence[float] = SWEEP,
    tell: Callable[[], object] = lambda: None,
) -> Calibration:
    """Measures the curve and chooses. layers: those that the engine steers, empty for all. tell: called for each frame.

    Leaves the model with the eager attention that shows its weights.
    """
    if "attention" not in engine.capabilities.focus_modes:
        raise EngineError(f"{engine.name} cannot be steered by attention, so it has no beta")
    engine.architecture.model.set_attn_implementation("eager")
    totals = np.zeros((len(sweep), 3))
    said: list[list[str]] = []
    for case in made:
        answers = []
        for row, beta in enumerate(sweep):
            shares, answer = _measured(engine, case, beta, layers)
            totals[row] += shares
            answers.append(answer)
        said.append(answers)
        tell()
    curve = tuple(Shares(beta, *map(float, total)) for beta, total in zip(sweep, totals / len(made), strict=True))
    beta = choose(curve, keep_text)
    at = list(sweep).index(beta)

    def right(column: int) -> float | None:
        known = [matches(answers[column], case.answer) for answers, case in zip(said, made, strict=True) if case.answer]
        return sum(known) / len(known) if known else None

    changed = sum(answers[at] != answers[0] for answers in said) / len(said)
    return Calibration(beta, curve, len(made), changed, right(at), right(0))


def _measured(
    engine: TransformersEngine, case: Case, beta: float, layers: Sequence[int]
) -> tuple[tuple[float, float, float], str]:
    """Shares of region, elsewhere and text, and the answer."""
    prompt = replace(case.prompt, beta=beta)
    with torch.inference_mode():
        layout, _ = engine.layout(prompt)
    visual = torch.nonzero(layout.visual).flatten() + len(layout.beginning)
    weights = sampled(prompt.focus, layout.sights[0].pixels.boxes) if prompt.focus is not None else np.zeros(0)
    inside = visual[: len(weights)][torch.from_numpy(weights > 0)]
    with _attention_of_the_last(engine, layers) as attention:
        completion = engine.complete(prompt, draft=())  # whose positions would take the place of the answer's
    region = float(np.mean([row[inside].sum() for row in attention]))
    seen = float(np.mean([row[visual].sum() for row in attention]))
    return (region, seen - region, 1.0 - seen), completion.text


@contextmanager
def _attention_of_the_last(engine: TransformersEngine, layers: Sequence[int]) -> Iterator[list[Tensor]]:
    """For each pass and layer the attention of its last position, (keys,), mean over heads."""
    rows: list[Tensor] = []

    def watch(module: Any, args: Any, output: Any) -> None:
        if output[1] is None:
            raise EngineError(f"{engine.name} does not show its attention weights, so it cannot be calibrated")
        rows.append(output[1][0, :, -1].float().mean(0).cpu())

    every = engine.architecture.decoder.layers
    chosen = [every[index] for index in layers] if layers else every
    handles = [layer.self_attn.register_forward_hook(watch) for layer in chosen]
    try:
        yield rows
    finally:
        for handle in handles:
            handle.remove()

# SPDX-License-Identifier: Apache-2.0
"""One model's speed: frames through the real pipeline, with and without prompt reuse, beside plain `generate`.

Measurements of all kinds take turns, so that a drift of the machine hits all alike. What an answer costs depends on
whether it is the last frame's again, and a model with random weights says nothing about how often that is so. So drafts
are given: none, a right one or one that is wrong from its first token on, each a kind of its own.
"""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle, islice
from typing import Any

from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.engine import Capabilities, Completion, OnToken, Prompt, Stop
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.evaluation.plain_generate import PlainAnswer, answer_plainly
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.transfer.conversation import Exchange, worded
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.history import Replacement
from edgevlm_ros.transfer.types import (
    Answer,
    CloudContext,
    Frame,
    Image,
    Outcome,
    Question,
    Region,
    Source,
    Status,
    Turn,
)

NEW_TOKENS = 8
LONGEST = 1024  # tokens of history
USUAL = 64  # the longest cloud answer that is told, by default: each focus mode is measured with it
KEEP, BUDGET = 0.25, 0.5
SMALL_CROP = f"crop@{BUDGET}"
# The answer of the frame before, by kind: the same as this frame's, or another one. Other kinds are measured without.
DRAFTS = ("accepted", "rejected")
# What plain `generate` can do too, since it is all in the images and the words.
PLAIN_MODES = ("none", "crop", "overlay", "text")
REGION = (0.4, 0.4, 0.6, 0.7)  # of the frame's width and height

# The first of at most so many tokens, as a question has them with a published tokenizer: of one whose tokens are bytes
# the words would outweigh the image.
_QUESTIONS = (Question("Where is the person?"), Question("Where?"))
_QUESTION_TOKENS = 10
_CLAIM_ROUNDS = 2  # of what the claims need, before the rest gets its turn
_SLOW = 0.5  # seconds of a frame in which what the first one after a context costs is lost
_TEXT = (
    "the cart with the red placard stands on the left behind two pallets and a person walks towards the second "
    "machine whose lamp is green while a forklift waits at the end of aisle number four near an open door"
)


@dataclass(frozen=True, slots=True)
class Point:
    """One prompt. mode: as in Focus, or SMALL_CROP. history: tokens told before the image."""

    mode: str
    history: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One answer. Times are milliseconds by name of a row's column. seconds: all that it took, preparation too."""

    times: dict[str, float]
    tokens: tuple[int, ...]
    seconds: float
    more: dict[str, int] = field(default_factory=dict)


def plan(can: Capabilities) -> list[tuple[str, Point]]:
    """What to measure, of a kind (reuse, prefill, generate, DRAFTS) and at a point: all that there is."""
    return [*claimed(can), *_rest()]


def claimed(can: Capabilities) -> list[tuple[str, Point]]:
    """What the claims need."""
    none, longest, usual = (Point("none", history) for history in (0, LONGEST, USUAL))
    small = [("reuse", Point(SMALL_CROP, USUAL))] if can.resolution else []
    claims = [("reuse", none), ("reuse", longest), ("generate", longest), ("reuse", usual)]
    claims += [("accepted", none), ("accepted", longest), ("rejected", longest)]
    return [*claims, ("reuse", Point("prune", USUAL)), *small]


def rounds(can: Capabilities, repeats: int) -> list[list[tuple[str, Point]]]:
    """In which order to measure it: the claims, so that they are sure, then the rest, then all of it again."""
    first = [claimed(can)] * min(_CLAIM_ROUNDS, repeats)
    return [*first, _rest(), *[plan(can)] * (repeats - len(first))]


def _rest() -> list[tuple[str, Point]]:
    none, quarter, longest, usual = (Point("none", history) for history in (0, LONGEST // 4, LONGEST, USUAL))
    rest = [("generate", none)]
    rest += [("prefill", longest), ("generate", usual), ("reuse", quarter), ("generate", quarter)]
    for mode in ("attention", "crop", "overlay", "text"):
        rest.append(("reuse", Point(mode, USUAL)))
        if mode in PLAIN_MODES:
            rest.append(("generate", Point(mode, USUAL)))
    rest += [("prefill", none), ("prefill", usual), ("prefill", quarter)]
    rest += [("rejected", none), ("accepted", usual), ("rejected", usual)]
    return rest


class WatchedEngine(TransformersEngine):
    """Remembers what it was given last, and whether it is taking a context in.

    draft: what it tries instead of the last frame's answer, if it is not None.
    """

    prompt: Prompt
    completion: Completion
    history: tuple[Exchange, ...] = ()
    draft: tuple[int, ...] | None = None

    def __init__(
        self,
        architecture: Architecture,
        name: str,
        reuse: bool,
        tokens: int = NEW_TOKENS,
        decoding: str = "growing",
    ) -> None:
        super().__init__(architecture, name, max_new_tokens=tokens, reuse=reuse, decoding=decoding)
        self.taking_in = threading.Event()
        short = [question for question in _QUESTIONS if self.count_tokens(question.text) <= _QUESTION_TOKENS]
        self.question = [*short, _QUESTIONS[-1]][0]

    def prepare(self, history: Sequence[Exchange]) -> None:
        try:
            self.history = tuple(history)
            super().prepare(history)
        finally:
            self.taking_in.clear()

    def complete(
        self,
        prompt: Prompt,
        on_token: OnToken | None = None,
        stop: Stop | None = None,
        draft: Sequence[int] | None = None,
    ) -> Completion:
        self.prompt = prompt
        self.completion = super().complete(prompt, on_token, stop, self.draft if draft is None else draft)
        return self.completion


class Bench:
    """A loaded model and a frame."""

    def __init__(self, architecture: Architecture, name: str, image: Image) -> None:
        self.architecture = architecture
        self.image = image
        # every answer has all its tokens, whatever a model with random weights takes for an end
        architecture.model.generation_config.eos_token_id = None
        architecture.processor.tokenizer.eos_token = None
        self._engines = {kind: WatchedEngine(architecture, name, kind == "reuse") for kind in ("reuse", "prefill")}
        self._pipelines: dict[tuple[bool, Point], Pipeline] = {}
        self._said: dict[Point, tuple[int, ...]] = {}
        self._prompts: dict[Point, Prompt] = {}
        self._histories: dict[Point, tuple[Exchange, ...]] = {}
        self._frame_seconds = 0.0
        self._stamps = count(1_000_000_000, 1000)  # so near to each other that no words about time change

    @property
    def engine(self) -> WatchedEngine:
        return self._engines["reuse"]

    def measure(self, kind: str, point: Point) -> Measured:
        start = time.perf_counter()
        measured = self._plainly(point) if kind == "generate" else self._framed(kind, point)
        return Measured(measured.times, measured.tokens, time.perf_counter() - start, measured.more)

    def prompt(self, point: Point) -> Prompt:
        """What the pipeline asked of the engine there."""
        return self._prompts[point]

    def _framed(self, kind: str, point: Point) -> Measured:
        reuse = kind != "prefill"
        engine = self._engines["reuse" if reuse else "prefill"]
        pipeline = self._pipelines.get((reuse, point))
        if pipeline is None:
            pipeline = self._pipelines[reuse, point] = self._pipeline(engine, point)
        engine.draft = self._draft(kind, point)
        if not engine.prepared(self._histories[point]):
            # an engine keeps few histories, and here are many: back to where a stream of frames would be
            engine.prepare(self._histories[point])
            if self._frame_seconds < _SLOW:
                answered(pipeline, self._frame())
        answer, seconds = answered(pipeline, self._frame())
        self._frame_seconds = seconds
        completion, timings = engine.completion, answer.timings
        self._prompts[point], self._said[point] = engine.prompt, completion.tokens
        times = {
            "ttft_ms": answer.first_token_time + answer.focus_time,
            "focus_ms": answer.focus_time,
            "prepare_ms": timings.prepare,
            "vision_ms": timings.vision,
            "prefill_ms": timings.prefill,
            "decode_ms": timings.decode,
            "answer_ms": seconds,
        }
        told = sum(engine.count_tokens(e.asked) + engine.count_tokens(e.said) for e in engine.prompt.history)
        more = {
            "history_tokens": told,
            "visual_tokens": completion.visual_tokens,
            "prompt_tokens": completion.prompt_tokens,
            "reused_tokens": completion.reused_tokens,
            "drafted_tokens": completion.drafted_tokens,
            "accepted_tokens": completion.accepted_tokens,
        }
        return Measured({name: 1e3 * value for name, value in times.items()}, completion.tokens, 0.0, more)

    def _draft(self, kind: str, point: Point) -> tuple[int, ...]:
        if kind not in DRAFTS:
            return ()
        said = self._said[point]
        if kind == "accepted":
            return said
        tokens = self.architecture.decoder.config.vocab_size
        return tuple((token + 1) % tokens for token in said)

    def _frame(self) -> Frame:
        return Frame(next(self._stamps), self.image.copy())

    def _pipeline(self, engine: WatchedEngine, point: Point) -> Pipeline:
        small = point.mode == SMALL_CROP
        rule = Focus(
            "crop" if small else point.mode, keep=KEEP, pixel_budget=BUDGET if small else 2.0, half_life=3600.0
        )
        pipeline = Pipeline(engine, engine.question, telling(), rule)
        engine.history = ()
        if point.history:
            text = words(engine, point.history)
            pipeline.notice(Frame(0, self.image))  # regions of a keyframe that was not seen are not used
            outcome = pipeline.on_context(context(engine.question, self.image, 0, text))
            if outcome is not Outcome.APPLIED:
                raise RuntimeError(f"the context was not applied: {outcome}")
        self._histories[point] = engine.history
        return pipeline

    def _plainly(self, point: Point) -> Measured:
        answer: PlainAnswer = answer_plainly(self.architecture, self._prompts[point], NEW_TOKENS)
        times = {
            "generate_ms": answer.total,
            "generate_prepare_ms": answer.prepare,
            "generate_vision_ms": answer.vision,
            "generate_prefill_ms": answer.prefill,
            "generate_ttft_ms": answer.first_token,
        }
        return Measured({name: 1e3 * value for name, value in times.items()}, answer.tokens, 0.0)

    def pixels(self, point: Point) -> int:
        """How many of them the vision tower sees, all views together."""
        prompt = self._prompts[point]
        sizes = (self.architecture.pixels(image, prompt.pixel_share).size for image in prompt.images)
        return sum(height * width for height, width in sizes)


def answered(pipeline: Pipeline, frame: Frame) -> tuple[Answer, float]:
    """The answer, and the seconds from the frame to it."""
    start = time.perf_counter()
    answer = pipeline.on_frame(frame)
    return answer, time.perf_counter() - start


def context(question: Question, image: Image, stamp: int, text: str) -> CloudContext:
    """What a cloud might say about the middle of an image."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = REGION
    region = Region("person", 1.0, x0 * width, y0 * height, x1 * width, y1 * height)
    return CloudContext(stamp, 0, question.id, Status.OK, text, (region,), width, height)


def words(engine: WatchedEngine, tokens: int, first: int = 0) -> str:
    """An answer with which the history takes so many tokens. first: which word it begins with."""
    [exchange], _ = worded([Turn(0, engine.question, "", Source.CLOUD)], engine.question.text, 0)
    wanted = tokens - engine.count_tokens(exchange.asked)
    said = _TEXT.split()
    first %= len(said)
    text = " ".join(islice(cycle(said), first, first + max(wanted, 1)))
    low, high = 1, len(text)
    while low < high:
        middle = (low + high) // 2
        if engine.count_tokens(text[:middle]) < wanted:
            low = middle + 1
        else:
            high = middle
    text = text[:low]
    return f"{text[:-1]}s" if text.endswith(" ") else text


def telling() -> Replacement:
    """A rule that tells all, whatever the history's length and the scene: this is about time."""
    return Replacement(max_tokens=2 * LONGEST, max_history_tokens=2 * LONGEST, min_similarity=0.0)


# -- a table ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Results:
    """All that was measured of a model. left_out: why, by what."""

    measured: dict[tuple[str, Point], list[Measured]] = field(default_factory=dict)
    left_out: dict[tuple[str, Point], str] = field(default_factory=dict)


def measure_all(
    bench: Bench, seconds: float, repeats: int, tell: Callable[[Results, str, Point], None] | None = None
) -> Results:
    """Measures each point once and then again, in rounds, as long as the time allows."""
    results, start = Results(), time.perf_counter()
    for todo in rounds(bench.engine.capabilities, repeats):
        for kind, point in todo:
            left = start + seconds - time.perf_counter()
            expected = expected_seconds(results, kind, point)
            if expected > left:
                if (kind, point) not in results.measured:
                    reason = f"it needs about {expected:.0f} s, and {max(left, 0.0):.0f} s of the time were left"
                    results.left_out[kind, point] = reason
                continue
            if kind in ("generate", *DRAFTS) and ("reuse", point) not in results.measured:
                results.left_out[kind, point] = "its prompt was left out"
                continue
            measured = bench.measure(kind, point)
            results.measured.setdefault((kind, point), []).append(measured)
            if tell is not None:
                tell(results, kind, point)
    return results


def expected_seconds(results: Results, kind: str, point: Point) -> float:
    """How long a measurement takes: as long as it last did, else what the first frame says about this model."""
    before = results.measured.get((kind, point))
    if before:
        return before[-1].seconds
    first = next(iter(results.measured.values()), None)
    if first is None:
        return 0.0
    frame = first[0]
    prefilled = frame.more["prompt_tokens"] - frame.more["reused_tokens"]
    return (frame.times["answer_ms"] + frame.times["prefill_ms"] / prefilled * point.history) * 1e-3


def rows(model: str, results: Results, pixels: Callable[[Point], int]) -> list[dict[str, Any]]:
    """A row for each mode, history, draft, and reuse or not. Medians, without the first of three or more."""
    table = []
    for (kind, point), measured in results.measured.items():
        if kind == "generate":
            continue
        # where plain `generate` can do the same; else what it needs without
        same = point.mode in PLAIN_MODES
        plain = results.measured.get(("generate", point if same else Point("none", point.history)), [])
        drafted, accepted = (sum(one.more[f"{what}_tokens"] for one in measured) for what in ("drafted", "accepted"))
        said, said_plainly = {one.tokens for one in measured}, {one.tokens for one in plain}
        table.append(
            {
                "model": model,
                "mode": point.mode,
                "reuse": kind != "prefill",
                "draft": kind if kind in DRAFTS else "off",
                "history_tokens": measured[0].more["history_tokens"],
                "visual_tokens": measured[0].more["visual_tokens"],
                "prompt_tokens": measured[0].more["prompt_tokens"],
                "reused_tokens": measured[0].more["reused_tokens"],
                "drafted_tokens": measured[0].more["drafted_tokens"],
                "draft_accepted": accepted / drafted if drafted else None,
                "pixels": pixels(point),
                **_medians(measured),
                **dict.fromkeys(_PLAIN_COLUMNS),
                **_medians(plain),
                "generate_mode": (point.mode if same else "none") if plain else None,
                "answer_tokens": len(measured[0].tokens),
                "tokens_equal": said == said_plainly and len(said) == 1 if same and plain else None,
                "repeats": len(measured),
            }
        )
    return table


_PLAIN_COLUMNS = ("generate_ms", "generate_prepare_ms", "generate_vision_ms", "generate_prefill_ms", "generate_ttft_ms")


def _medians(measured: Sequence[Measured]) -> dict[str, float]:
    warm = measured[1:] if len(measured) > 2 else measured
    names = measured[0].times if measured else {}
    return {name: round(statistics.median(one.times[name] for one in warm), 3) for name in names}

# SPDX-License-Identifier: Apache-2.0
"""The pipeline with an engine that tells what it was shown."""

from __future__ import annotations

import numpy as np
import pytest

from edgevlm_ros.edge.engine import Completion, EngineError, OnToken, Prompt, Stop
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.transfer.focus import Focus, FocusMode
from edgevlm_ros.transfer.history import Replacement
from edgevlm_ros.transfer.types import CloudContext, Frame, Outcome, Question, Region, Source, Status

SECOND = 1_000_000_000
WHERE, WHAT = Question("where is it?"), Question("what is it?")
IMAGE = np.zeros((48, 64, 3), np.uint8)


class Recorder:
    """An engine that keeps its prompts, and fails on demand."""

    name = "recorder"
    focus_modes: frozenset[FocusMode] = frozenset({"none", "attention", "crop"})

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.broken = False

    def grid(self, width: int, height: int) -> tuple[int, int]:
        return 3, 4

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def complete(self, prompt: Prompt, on_token: OnToken | None = None, stop: Stop | None = None) -> Completion:
        if self.broken:
            raise RuntimeError("out of memory")
        self.prompts.append(prompt)
        return Completion(f"answer {len(self.prompts)}", 0.5, 0.01)


@pytest.fixture
def engine() -> Recorder:
    return Recorder()


@pytest.fixture
def pipeline(engine: Recorder) -> Pipeline:
    return Pipeline(engine, WHERE, focus=Focus(mode="attention"))


def frame(second: float) -> Frame:
    return Frame(int(second * SECOND), IMAGE)


def reply(second: float, text: str = "on the left", question: Question = WHERE) -> CloudContext:
    region = Region("it", 1.0, 8, 8, 24, 24)
    return CloudContext(int(second * SECOND), 1, question.id, Status.OK, text, (region,), 64, 48)


def test_a_late_context_enters_the_next_answer(pipeline: Pipeline, engine: Recorder) -> None:
    first = pipeline.on_frame(frame(1))
    assert first.context is None
    assert first.focus is None
    assert pipeline.on_context(reply(1)) is Outcome.APPLIED
    second = pipeline.on_frame(frame(2))
    assert [(t.text, t.source) for t in engine.prompts[1].history] == [("on the left", Source.CLOUD)]
    assert second.context is not None
    assert second.context.stamp == SECOND
    assert second.focus is not None
    assert second.focus.grid.max() > 0
    assert engine.prompts[1].beta == Focus().beta


def test_contexts_of_an_earlier_question_change_nothing(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.on_frame(frame(1))
    pipeline.set_question(WHAT)
    assert pipeline.on_context(reply(1)) is Outcome.OTHER_QUESTION
    answer = pipeline.on_frame(frame(2))
    assert engine.prompts[-1].history == ()
    assert answer.question == WHAT
    assert answer.focus is None


def test_a_question_that_returns_finds_its_context_again(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.on_frame(frame(1))
    pipeline.on_context(reply(1))
    pipeline.set_question(WHAT)
    pipeline.on_frame(frame(2))
    pipeline.set_question(WHERE)
    pipeline.on_frame(frame(3))
    assert [t.text for t in engine.prompts[-1].history] == ["on the left"]


def test_a_stream_that_begins_anew_forgets_the_old_one(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.on_frame(frame(50))
    pipeline.on_context(reply(50))
    answer = pipeline.on_frame(frame(1))
    assert engine.prompts[-1].history == ()
    assert answer.focus is None
    assert pipeline.on_context(reply(50)) is Outcome.STALE


def test_the_cloud_cannot_exceed_its_budget(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.replacement = Replacement(max_tokens=5)
    pipeline.on_frame(frame(1))
    pipeline.on_context(reply(1, "word " * 1000))
    pipeline.on_frame(frame(2))
    assert engine.count_tokens(engine.prompts[-1].history[0].text) == 5


def test_a_frame_that_fails_leaves_the_history_as_it_was(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.on_frame(frame(1))
    before = pipeline.history
    engine.broken = True
    with pytest.raises(RuntimeError, match="out of memory"):
        pipeline.on_frame(frame(2))
    assert pipeline.history == before


def test_focus_can_be_turned_off_and_to_a_second_view(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.on_frame(frame(1))
    pipeline.on_context(reply(1))
    pipeline.focus = Focus(mode="none")
    assert pipeline.on_frame(frame(1.2)).focus_mode == "none"
    assert engine.prompts[-1].focus is None
    pipeline.focus = Focus(mode="crop")
    answer = pipeline.on_frame(frame(1.4))
    assert answer.focus_mode == "crop"
    assert engine.prompts[-1].focus is not None
    assert engine.prompts[-1].focus.crop is not None
    assert engine.prompts[-1].beta == 0.0


def test_a_focus_that_the_engine_cannot_do_is_refused(engine: Recorder) -> None:
    engine.focus_modes = frozenset({"none"})
    with pytest.raises(EngineError, match="cannot be focused by 'attention': it can none"):
        Pipeline(engine, WHERE, focus=Focus(mode="attention"))

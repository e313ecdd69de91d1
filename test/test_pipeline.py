# SPDX-License-Identifier: Apache-2.0
"""The pipeline with an engine that tells what it was shown."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgevlm_ros.edge.engine import Capabilities, Completion, EngineError, OnToken, Prompt, Stop
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.transfer.focus import CARRY_MODES, FOCUS_MODES, Focus
from edgevlm_ros.transfer.history import History, Replacement
from edgevlm_ros.transfer.types import CloudContext, Frame, Image, Outcome, Question, Region, Source, Status
from edgevlm_ros.words import plain

SECOND = 1_000_000_000
WHERE, WHAT = Question("where is it?"), Question("what is it?")
BARE = Replacement(provenance=False)
RNG = np.random.default_rng(8)
# a wide texture through which a camera pans, and another place
PLACE, ELSEWHERE = (
    np.kron(RNG.integers(0, 255, (12, 64, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8)) for _ in range(2)
)


class Recorder:
    """An engine that keeps its prompts, fails on demand, and prepares only when it may."""

    name = "recorder"

    def __init__(self) -> None:
        self.capabilities = Capabilities(frozenset(FOCUS_MODES), reuse=True, features=True)
        self.prompts: list[Prompt] = []
        self.ready: list[tuple[Exchange, ...]] = []
        self.broken = False
        self.words = ""
        self.may_prepare = threading.Event()
        self.may_prepare.set()

    def grid(self, width: int, height: int) -> tuple[int, int]:
        return 3, 4

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def see(self, image: Image) -> NDArray[np.float32] | None:
        return np.ones((3, 4, 8), np.float32)

    def prepare(self, history: Sequence[Exchange]) -> None:
        assert self.may_prepare.wait(60)
        if self.broken:
            raise RuntimeError("out of memory")
        self.ready.append(tuple(history))

    def complete(self, prompt: Prompt, on_token: OnToken | None = None, stop: Stop | None = None) -> Completion:
        if self.broken:
            raise RuntimeError("out of memory")
        self.prompts.append(prompt)
        return Completion(self.words or f"answer {len(self.prompts)}", 0.5, 0.01)


@pytest.fixture
def engine() -> Recorder:
    return Recorder()


@pytest.fixture
def pipeline(engine: Recorder) -> Pipeline:
    return Pipeline(engine, WHERE, BARE, Focus(mode="attention"))


@pytest.fixture
def live(engine: Recorder) -> Iterator[Pipeline]:
    """With a thread of its own for contexts."""
    pipeline = Pipeline(engine, WHERE, BARE, Focus(mode="attention"), background=True)
    yield pipeline
    engine.may_prepare.set()
    pipeline.close()


def frame(second: float, place: Image = PLACE, pan: int = 0) -> Frame:
    return Frame(int(second * SECOND), np.ascontiguousarray(place[:, 200 + pan : 360 + pan]))


def reply(second: float, text: str = "on the left", question: Question = WHERE) -> CloudContext:
    region = Region("it", 1.0, 40, 30, 100, 90)
    return CloudContext(int(second * SECOND), 1, question.id, Status.OK, text, (region,), 160, 120)


def said(engine: Recorder) -> list[str]:
    return [exchange.said for exchange in engine.prompts[-1].history]


def test_a_late_context_enters_the_next_answer(pipeline: Pipeline, engine: Recorder) -> None:
    first = pipeline.on_frame(frame(1))
    assert first.context is None
    assert first.focus is None
    assert pipeline.on_context(reply(1)) is Outcome.APPLIED
    second = pipeline.on_frame(frame(2))
    assert said(engine) == ["on the left"]
    assert second.context is not None
    assert second.context.stamp == SECOND
    assert second.context.source is Source.CLOUD
    assert second.focus is not None
    assert engine.prompts[1].focus is second.focus.grid
    assert engine.prompts[1].beta == Focus().beta


def test_contexts_that_come_faster_than_they_are_prepared_take_no_memory(live: Pipeline, engine: Recorder) -> None:
    live.on_frame(frame(1))
    engine.may_prepare.clear()
    tracemalloc.start()
    for second in range(2, 102):
        live.on_frame(frame(second))
        assert live.on_context(reply(second, "a word " * 100_000)) is Outcome.APPLIED
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 30e6
    engine.may_prepare.set()
    live.settle()
    assert len(engine.ready) == 2  # the first one and the last
    live.on_frame(frame(102))
    assert said(engine) == ["a word " * 31 + "a word"]


def test_the_engine_is_told_whose_frame_it_answers(engine: Recorder) -> None:
    pipeline = Pipeline(engine, WHERE, BARE, camera="front")
    pipeline.on_frame(frame(1))
    pipeline.ask(WHAT, frame(1))
    assert [prompt.camera for prompt in engine.prompts] == ["front", "front"]


def test_the_model_is_told_who_spoke_and_how_long_ago(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.replacement = Replacement()
    pipeline.on_frame(frame(1))
    pipeline.on_context(reply(1))
    beginnings = set()
    for second in (2, 4, 7):
        pipeline.on_frame(frame(second))
        assert engine.prompts[-1].question == f"[{second - 1} s later]\nwhere is it?"
        beginnings.add(engine.prompts[-1].history)
    assert beginnings == {(Exchange("[answer from the cloud]\nwhere is it?", "on the left"),)}


def test_regions_follow_the_scene(pipeline: Pipeline) -> None:
    pipeline.on_frame(frame(1.0))
    for step in range(1, 6):  # the camera pans on while the cloud thinks
        pipeline.on_frame(frame(1.0 + step / 10, pan=4 * step))
    pipeline.on_context(reply(1.0))
    answer = pipeline.on_frame(frame(1.6, pan=24))
    assert answer.focus is not None
    (region,) = answer.focus.regions
    assert (region.x0 + region.x1) / 2 == pytest.approx(70 - 24, abs=3)
    pipeline.focus = Focus(mode="attention", carry="none")
    answer = pipeline.on_frame(frame(1.7, pan=28))
    assert answer.focus is not None
    assert answer.focus_time > 0.0


def test_regions_follow_the_scene_through_frames_that_are_not_answered(pipeline: Pipeline) -> None:
    pipeline.on_frame(frame(1.0))
    pipeline.on_context(reply(1.0))
    for step in range(1, 9):
        pipeline.notice(frame(1.0 + step / 10, pan=4 * step))
    answer = pipeline.on_frame(frame(2.0, pan=32))
    assert answer.focus is not None
    (region,) = answer.focus.regions
    assert (region.x0 + region.x1) / 2 == pytest.approx(70 - 32, abs=4)


def test_a_context_is_suspended_while_the_scene_is_another_one(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.on_frame(frame(1))
    assert pipeline.on_context(reply(1)) is Outcome.APPLIED
    away = pipeline.on_frame(frame(2, ELSEWHERE))
    assert (said(engine), away.context, away.focus) == ([], None, None)
    back = pipeline.on_frame(frame(3))
    assert said(engine) == ["on the left"]
    assert back.focus is not None


def test_a_reply_that_comes_after_the_scene_has_changed_is_kept_for_its_return(
    pipeline: Pipeline, engine: Recorder
) -> None:
    pipeline.on_frame(frame(1))
    pipeline.on_frame(frame(2, ELSEWHERE))
    assert pipeline.on_context(reply(1)) is Outcome.SUSPENDED
    pipeline.on_frame(frame(3, ELSEWHERE))
    assert said(engine) == []
    pipeline.on_frame(frame(4))
    assert said(engine) == ["on the left"]


def test_a_keyframe_that_was_not_answered_is_compared_with_frames_that_are(engine: Recorder) -> None:
    pipeline = Pipeline(engine, WHERE, BARE, Focus(mode="attention", carry="features"))
    pipeline.notice(frame(1.0))
    pipeline.on_context(reply(1.0))
    answer = pipeline.on_frame(frame(2.0, pan=32))
    assert answer.focus is not None
    (region,) = answer.focus.regions
    assert (region.x0 + region.x1) / 2 == pytest.approx(70 - 32, abs=4)
    answer = pipeline.on_frame(Frame(3 * SECOND, np.zeros_like(frame(2.0).image)))
    assert answer.suspended
    assert answer.focus is None


def test_a_context_whose_keyframe_the_edge_never_saw_is_suspended(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.on_frame(frame(2.0))
    assert pipeline.on_context(reply(1.0)) is Outcome.SUSPENDED
    answer = pipeline.on_frame(frame(3.0))
    assert answer.suspended
    assert answer.context is None
    assert answer.focus is None
    assert said(engine) == []


@pytest.mark.parametrize("carry", CARRY_MODES)
def test_without_suspension_a_context_is_told_but_regions_of_an_unseen_keyframe_are_not_used(
    engine: Recorder, carry: str
) -> None:
    pipeline = Pipeline(engine, WHERE, replace(BARE, min_similarity=0.0), Focus(mode="attention", carry=carry))
    pipeline.on_frame(frame(2.0))
    pipeline.on_context(reply(1.0))
    answer = pipeline.on_frame(frame(3.0))
    assert said(engine) == ["on the left"]
    assert answer.focus is None


def test_a_reply_that_comes_before_its_keyframe_waits_for_it(pipeline: Pipeline) -> None:
    pipeline.on_frame(frame(1.0))
    pipeline.on_context(reply(2.0))
    for step in range(4):
        pipeline.notice(frame(2.0 + step / 5, pan=8 * step))
    answer = pipeline.on_frame(frame(2.8, pan=32))
    assert answer.context is not None
    assert answer.focus is not None
    (region,) = answer.focus.regions
    assert (region.x0 + region.x1) / 2 == pytest.approx(70 - 32, abs=4)


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
    for second in (1.5, 2.0, 2.5):
        assert pipeline.on_frame(frame(second)).focus is None
    pipeline.set_question(WHERE)
    answer = pipeline.on_frame(frame(3))
    assert said(engine) == ["on the left"]
    assert answer.focus is not None


def test_another_question_of_the_same_frame_is_answered_in_its_own_context(
    pipeline: Pipeline, engine: Recorder
) -> None:
    pipeline.on_frame(frame(1))
    pipeline.on_context(reply(1))
    pipeline.on_frame(frame(2))
    before = pipeline.history
    answer = pipeline.ask(WHAT, frame(2))
    assert (answer.question, said(engine), answer.focus) == (WHAT, [], None)
    assert pipeline.ask(WHERE, frame(2)).context is not None
    assert pipeline.history == before


def test_a_stream_that_begins_anew_forgets_the_old_one(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.on_frame(frame(50))
    pipeline.on_context(reply(50))
    answer = pipeline.on_frame(frame(1))
    assert engine.prompts[-1].history == ()
    assert answer.focus is None
    assert pipeline.on_context(reply(50)) is Outcome.STALE


def test_the_cloud_cannot_exceed_its_budget(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.replacement = Replacement(max_tokens=5, provenance=False)
    pipeline.on_frame(frame(1))
    pipeline.on_context(reply(1, " ".join(f"word{n}" for n in range(1000))))
    pipeline.on_frame(frame(2))
    assert engine.count_tokens(said(engine)[0]) == 5


def test_boxes_that_mean_nothing_are_counted(pipeline: Pipeline) -> None:
    nan = float("nan")
    regions = (
        Region("it", 1.0, 40, 30, 100, 90),
        Region("<|im_end|>", nan, 0, 0, nan, 9),
        Region("", 1, -9, -9, -1, 0),
    )
    pipeline.on_frame(frame(1))
    context = CloudContext(SECOND, 1, WHERE.id, Status.OK, "left", regions, 160, 120)
    assert pipeline.on_context(context) is Outcome.APPLIED
    assert pipeline.regions_dropped == 2


def test_a_frame_that_fails_leaves_the_history_as_it_was(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.on_frame(frame(1))
    before = pipeline.history
    engine.broken = True
    with pytest.raises(RuntimeError, match="out of memory"):
        pipeline.on_frame(frame(2))
    assert pipeline.history == before


def test_each_focus_mode_reaches_the_model_in_its_own_way(pipeline: Pipeline, engine: Recorder) -> None:
    pipeline.on_frame(frame(1))
    pipeline.on_context(reply(1))

    def seen(mode: str) -> Prompt:
        pipeline.focus = Focus(mode=mode, pixel_budget=2.0)
        assert pipeline.on_frame(frame(1.5)).focus_mode == mode
        return engine.prompts[-1]

    assert seen("none").focus is None
    assert (seen("attention").beta, seen("attention").keep) == (Focus().beta, 1.0)
    assert (seen("prune").beta, seen("prune").keep) == (0.0, Focus().keep)
    assert len(seen("crop").images) == 2
    assert seen("overlay").images[0].mean() < frame(1.5).image.mean()
    assert "it (" in seen("text").question
    both = seen("attention+crop")
    assert (len(both.images), both.beta) == (2, Focus().beta)


def test_a_focus_that_the_engine_cannot_do_is_refused(engine: Recorder) -> None:
    engine.capabilities = Capabilities(frozenset({"crop"}))
    with pytest.raises(EngineError, match="cannot be focused by 'attention': it can crop"):
        Pipeline(engine, WHERE, focus=Focus(mode="attention"))
    with pytest.raises(EngineError, match="leave it at 2"):
        Pipeline(engine, WHERE, focus=Focus(mode="crop", pixel_budget=0.5))


def test_choices_bind_the_standing_question_and_not_what_is_asked_besides(engine: Recorder) -> None:
    engine.capabilities = Capabilities(frozenset(FOCUS_MODES), choices=True)
    pipeline = Pipeline(engine, WHERE, BARE)
    pipeline.choices = ("left", "right")
    pipeline.on_frame(frame(0.0))
    pipeline.set_question(Question("how many?"))
    pipeline.on_frame(frame(1.0))
    pipeline.ask(WHERE, frame(1.0))
    pipeline.choices = ()
    pipeline.on_frame(frame(2.0))
    assert [prompt.choices for prompt in engine.prompts] == [("left", "right"), ("left", "right"), (), ()]


def test_an_engine_that_cannot_keep_to_choices_refuses_them(pipeline: Pipeline) -> None:
    with pytest.raises(EngineError, match="leave choices empty"):
        pipeline.choices = ("left", "right")
    assert pipeline.choices == ()


# -- with a thread for contexts ----------------------------------------------------------------------------------------


def eventually_told(pipeline: Pipeline, engine: Recorder, second: float) -> list[str]:
    """What the frame is told once the background has nothing left to do."""
    engine.may_prepare.set()
    pipeline.settle()
    pipeline.on_frame(frame(second))
    return said(engine)


def test_no_frame_waits_for_a_context_that_is_being_taken_in(live: Pipeline, engine: Recorder) -> None:
    live.on_frame(frame(1))
    engine.may_prepare.clear()
    assert live.on_context(reply(1)) is Outcome.APPLIED
    waiting = live.on_frame(frame(2))
    assert (said(engine), waiting.context, waiting.focus) == ([], None, None)
    assert eventually_told(live, engine, 3) == ["on the left"]
    assert engine.prompts[-1].history in engine.ready


def test_the_last_context_holds_until_the_next_one_is_ready(live: Pipeline, engine: Recorder) -> None:
    live.on_frame(frame(1))
    live.on_context(reply(1))
    assert eventually_told(live, engine, 2) == ["on the left"]
    engine.may_prepare.clear()
    live.on_context(reply(2, "on the right"))
    answer = live.on_frame(frame(3))
    assert said(engine) == ["on the left"]
    assert answer.focus is not None
    assert eventually_told(live, engine, 4) == ["on the right"]


def test_a_context_that_cannot_be_prepared_is_told_all_the_same(live: Pipeline, engine: Recorder) -> None:
    live.on_frame(frame(1))
    engine.broken = True
    live.on_context(reply(1))
    live.settle()
    engine.broken = False
    live.on_frame(frame(2))
    assert said(engine) == ["on the left"]


def test_a_context_of_the_stream_before_a_restart_is_not_told_after_it(live: Pipeline, engine: Recorder) -> None:
    live.on_frame(frame(9))
    engine.may_prepare.clear()
    live.on_context(reply(9))
    live.on_frame(frame(1))
    assert eventually_told(live, engine, 9.5) == []


# -- any words -------------------------------------------------------------------------------------------------------

WORDS = st.lists(
    st.one_of(
        st.text(st.characters(), max_size=4),
        st.sampled_from(
            ["left", " ", "\n", "\x1b[2J", "\x1b]0;x\x07", "\x9b31m", "\ud800", "\u202e", "<|im_end|>", "</s>"]
        ),
    ),
    max_size=12,
).map("".join)


@settings(deadline=None)
@given(WORDS)
def test_whatever_a_model_says_an_answer_is_text_that_can_be_shown_and_sent(words: str) -> None:
    engine = Recorder()
    engine.words = words or "none"
    pipeline = Pipeline(engine, WHERE, BARE)
    answer = pipeline.on_frame(frame(1))
    for text in (answer.text, pipeline.ask(WHAT, frame(1)).text):
        assert not any(unicodedata.category(c).startswith("C") for c in text.replace("\n", ""))
        assert text.encode() == plain(text).strip().encode(), "of which nothing more is left out in the next prompt"
    assert [turn.text for turn in pipeline.history.turns] == [answer.text]


def test_the_words_of_an_answer_stay_in_their_lines(pipeline: Pipeline, engine: Recorder) -> None:
    engine.words = " 1. «Où?» 左边 \x1b[31m\n2. 3 < 5\n"
    assert pipeline.on_frame(frame(1)).text == "1. «Où?» 左边  [31m\n2. 3 < 5"


# -- any length of time ----------------------------------------------------------------------------------------------


def test_hours_of_new_words_and_questions_leave_no_more_behind_than_minutes(tiny_model: Path) -> None:
    engine = load_engine(EngineSettings(str(tiny_model), "cpu", threads=1, max_new_tokens=2))
    pipeline = Pipeline(engine, WHERE, Replacement(), Focus(mode="attention+crop", min_confidence=0.0))
    picture = np.ascontiguousarray(PLACE[:48, :64])

    def live(frames: Iterable[int]) -> int:
        """Blocks of memory that Python holds after these frames, each with a question and words of its own."""
        for number in frames:
            stamp, word = number * SECOND, f"{number:b}".translate({48: "o", 49: "i"})  # digits count as the same words
            question = Question(f"is it {word}?")
            pipeline.set_question(question)
            pipeline.on_context(replace(reply(0, f"it is {word}", question), stamp=stamp - SECOND))
            pipeline.on_frame(Frame(stamp, picture + np.uint8(number % 7)))
            pipeline.ask(Question(f"what of {word}?"), Frame(stamp, picture))
        gc.collect()
        return sys.getallocatedblocks()

    full = History().capacity // 2 + 30  # frames, of which each brings two turns
    before = live(range(1, full))
    more = live(range(full, full + 200)) - before
    assert more < 400, "what each frame left behind would be four and more, and chance leaves tens"


# -- any order of events -----------------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.floats(0.0, 2.0)),  # seconds since the frame before
        st.tuples(st.just("reply"), st.floats(0.0, 8.0)),  # seconds since its keyframe
        st.tuples(st.just("again"), st.just(0.0)),
        st.tuples(st.just("question"), st.floats(0.0, 1.0)),
    ),
    max_size=25,
)


def happen(events: list[tuple[str, float]], budget: int) -> tuple[list[Prompt], list[tuple[Outcome, CloudContext]]]:
    engine = Recorder()
    rule = Replacement(max_turns=3, max_context_age=5.0, max_tokens=6, max_history_tokens=budget, own_turns=True)
    pipeline = Pipeline(engine, WHERE, rule, Focus(mode="attention"))
    now, replies = 10.0, [reply(9.0, "first words")]
    outcomes = []
    for number, (kind, value) in enumerate(events):
        if kind == "frame":
            now += value
            pipeline.on_frame(frame(now))
        elif kind == "question":
            pipeline.set_question(WHERE if value < 0.5 else WHAT)
        else:
            if kind == "reply":
                asked = WHERE if number % 3 else WHAT
                replies.append(reply(now - value, f"reply {number} about {asked.text}", asked))
            outcomes.append((pipeline.on_context(replies[-1]), replies[-1]))
    return engine.prompts, outcomes


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(0, 40))
def test_whatever_the_order_no_reply_is_told_twice_or_under_another_question(
    events: list[tuple[str, float]], budget: int
) -> None:
    prompts, outcomes = happen(events, budget)
    applied = [(c.stamp, c.question_id) for outcome, c in outcomes if outcome in (Outcome.APPLIED, Outcome.SUSPENDED)]
    assert len(applied) == len(set(applied))
    for prompt in prompts:
        from_cloud = [x for x in prompt.history if "cloud" in x.asked]
        assert len({exchange.said for exchange in from_cloud}) == len(from_cloud)
        asked = prompt.question.splitlines()[-1]
        assert all(exchange.asked.splitlines()[-1] == asked for exchange in prompt.history)
        assert all(asked.startswith(x.said.split("about ")[-1]) for x in from_cloud if "about" in x.said)
        assert sum(len(x.asked.split()) + len(x.said.split()) for x in prompt.history) <= budget


@settings(max_examples=20, deadline=None)
@given(EVENTS)
def test_the_same_events_give_the_same_prompts(events: list[tuple[str, float]]) -> None:
    def told(prompts: list[Prompt]) -> list[object]:
        return [(p.history, p.question, None if p.focus is None else p.focus.tobytes()) for p in prompts]

    assert told(happen(events, 100)[0]) == told(happen(events, 100)[0])

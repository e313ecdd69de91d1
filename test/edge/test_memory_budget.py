# SPDX-License-Identifier: Apache-2.0
"""Less and less until it fits, all of it again after a while; with a real engine and a real limit of memory too."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.memory_budget import (
    WIDEN_AFTER_S,
    Caching,
    Means,
    MemoryBudget,
    ladder,
    ran_out_of_memory,
)
from edgevlm_ros.edge.random_models import build
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.history import Replacement
from edgevlm_ros.transfer.types import CloudContext, Frame, Question, Region, Status
from support import limited_memory

QUESTION = Question("where is it?")
PICTURE = np.random.default_rng(2).integers(0, 255, (240, 320, 3), dtype=np.uint8)
TOO_MUCH = 2**62


def errors() -> list[BaseException]:
    """What the libraries themselves say where memory is short."""
    found: list[BaseException] = [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of ..."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError(
            'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "/opt/pytorch/c10/cuda/CUDACachingAllocator.cpp":995, please '
            "report a bug to PyTorch. "
        ),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
        MemoryError(),
    ]
    for allocate in (lambda: torch.empty(2**46), lambda: np.empty(2**46), lambda: bytearray(2**60)):
        try:
            allocate()
        except (RuntimeError, MemoryError) as error:
            found.append(error)
    return found


def test_a_lack_of_memory_is_told_from_other_trouble() -> None:
    assert len(errors()) == 9
    assert [error for error in errors() if not ran_out_of_memory(error)] == []
    assert not ran_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not ran_out_of_memory(RuntimeError("could not create a primitive descriptor for a matmul"))
    assert not ran_out_of_memory(EngineError("no server answers"))


@pytest.mark.parametrize("resolution", [True, False])
def test_each_step_of_the_ladder_leaves_out_more_and_keeps_the_rest(resolution: bool) -> None:
    steps = ladder(resolution)
    assert steps[0] == Means()
    assert steps[0].left_out == ""
    for wide, narrow in pairwise(steps):
        less = narrow.second_view <= wide.second_view, narrow.pixel_share <= wide.pixel_share
        assert narrow != wide
        assert all((*less, narrow.history <= wide.history))
        assert narrow.left_out.startswith(wide.left_out.partition(",")[0])
    assert not steps[-1].history
    assert (steps[-1].pixel_share < 1.0) == resolution


def test_means_take_from_the_rules_what_they_do_not_reach_for() -> None:
    assert Means().focus(Focus(mode="crop")) == Focus(mode="crop")
    assert Means(second_view=False).focus(Focus(mode="crop")).mode == "none"
    assert Means(second_view=False).focus(Focus(mode="crop+text")).mode == "text"
    assert Means(history=False).replacement(Replacement()).max_turns == 0
    assert Means().replacement(Replacement()) == Replacement()


def test_a_larger_budget_is_tried_after_a_while_and_later_if_that_was_too_early() -> None:
    budget = MemoryBudget(resolution=False)
    assert budget.tighten(100.0)
    budget.widen(100.0 + WIDEN_AFTER_S - 1.0)
    assert not budget.means.second_view
    budget.widen(100.0 + WIDEN_AFTER_S)
    assert budget.means == Means()
    assert budget.tighten(161.0)
    budget.widen(161.0 + WIDEN_AFTER_S)
    assert not budget.means.second_view
    budget.widen(161.0 + 2 * WIDEN_AFTER_S)
    assert budget.means == Means()


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 2000.0)), max_size=60), st.booleans())
def test_whatever_happens_the_budget_is_on_the_ladder_and_widens_in_the_end(
    events: list[tuple[bool, float]], resolution: bool
) -> None:
    budget, now = MemoryBudget(resolution), 0.0
    for fails, later in events:
        now += later
        budget.widen(now)
        if fails:
            before = budget.means
            assert budget.tighten(now) == (budget.means != before)
        assert budget.means in ladder(resolution)
    for _ in range(5):
        now += 1000.0
        budget.widen(now)
    assert budget.means == Means()


class Short:
    """A real engine in too little memory: its decoder really asks the allocator for what is not there.

    fits: visual tokens and others of a prompt that still fit.
    """

    def __init__(self) -> None:
        model, processor = build("tiny-qwen2.5-vl")
        family = architecture_of(model.config.model_type)
        assert family is not None
        self.engine = TransformersEngine(family(model, processor), "tiny", max_new_tokens=4)
        self.fits = TOO_MUCH
        self.engine.architecture.decoder.register_forward_pre_hook(self._allocate, with_kwargs=True)

    def _allocate(self, module: object, args: object, kwargs: dict[str, torch.Tensor]) -> None:
        if kwargs["inputs_embeds"].shape[1] > self.fits:
            torch.empty(TOO_MUCH // 8)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def short() -> Short:
    return Short()


def told(pipeline: Pipeline) -> None:
    region = Region("it", 1.0, 40, 30, 160, 150)
    context = CloudContext(0, 1, QUESTION.id, Status.OK, "on the left, near the door", (region,), 320, 240)
    pipeline.on_frame(Frame(0, PICTURE))
    pipeline.on_context(context)


def test_a_frame_that_does_not_fit_is_answered_with_less_and_later_ones_with_all_again(short: Short) -> None:
    clock = Clock()
    pipeline = Pipeline(short.engine, QUESTION, Replacement(), Focus(mode="crop", min_confidence=0.0), clock)
    told(pipeline)
    whole = pipeline.on_frame(Frame(1, PICTURE))
    assert whole.context is not None
    assert whole.focus is not None
    assert whole.focus.crop is not None
    lengths: list[int] = []
    short.engine.architecture.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    pipeline.on_frame(Frame(2, PICTURE))
    short.fits = max(lengths) - 1
    narrow = pipeline.on_frame(Frame(3, PICTURE))
    assert narrow.text
    assert narrow.focus_mode == "none"
    assert pipeline.left_out.startswith("without a second view")
    short.fits = 20
    with pytest.raises(EngineError, match=r"even without a second view, with 25% of the pixels, without history: take"):
        pipeline.on_frame(Frame(4, PICTURE))
    short.fits = TOO_MUCH
    assert pipeline.on_frame(Frame(5, PICTURE)).text, "the next frame is another chance"
    for _ in range(4):
        clock.now += 1000.0
        last = pipeline.on_frame(Frame(6, PICTURE))
    assert pipeline.left_out == ""
    assert last.focus_mode == "crop"
    assert last.context is not None


def test_what_failed_is_forgotten_and_leaves_the_tokens_as_they_were(short: Short) -> None:
    prompt = Prompt((), (PICTURE,), "what?")
    before = short.engine.complete(prompt).tokens
    assert isinstance(short.engine, Caching)
    short.engine.give_back()
    assert not short.engine._seen
    assert short.engine.complete(prompt).tokens == before


def test_less_than_the_least_fails_that_frame_and_the_next_one_is_answered(short: Short) -> None:
    pipeline = Pipeline(short.engine, QUESTION)
    short.fits = 0
    with pytest.raises(EngineError, match=r"out of memory, even without a second view.*take a smaller model"):
        pipeline.on_frame(Frame(1, PICTURE))
    assert pipeline.history.turns == ()
    assert not short.engine._seen, "what could be computed again is given back"
    short.fits = TOO_MUCH
    assert pipeline.on_frame(Frame(2, PICTURE)).text


def limited(what: str, model: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(limited_memory.__file__), what, str(model)]
    env = {**os.environ, **limited_memory.MALLOC, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)


def test_in_a_process_with_a_limit_frames_are_answered_with_less(tiny_model: Path) -> None:
    done = limited("answer", tiny_model)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out: without a second view" in done.stdout
    assert "wide again: True" in done.stdout


def test_a_model_that_memory_does_not_hold_is_refused_with_what_to_do(tmp_path: Path) -> None:
    model, processor = build("tiny-qwen2.5-vl")
    model.resize_token_embeddings(200_000)
    for part in (model, processor.tokenizer, processor.image_processor):
        part.save_pretrained(tmp_path)
    done = limited("load", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "out of memory while loading" in done.stdout
    assert "set quantization to nf4" in done.stdout
    assert "loaded afterwards" in done.stdout

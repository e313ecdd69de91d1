# SPDX-License-Identifier: Apache-2.0
"""Static decoding against the growing cache, on a tiny random model of every family."""

from __future__ import annotations

import logging
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from edgevlm_ros.edge import static_decoding
from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.memory_need import memory_need
from edgevlm_ros.edge.model_shape import shape_of
from edgevlm_ros.edge.random_models import build
from edgevlm_ros.edge.static_decoding import StaticDecoder, StaticError
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.transfer.conversation import Exchange

TINY = ("tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-smolvlm", "tiny-idefics3", "tiny-llava", "tiny-llava-onevision")
QUESTION = "where is the person?"
HISTORY = (Exchange("where is the person?", "on the left, near the door"), Exchange("and now?", "gone"))
NEW_TOKENS = 8
LAYERS = (1,)  # steered: some, so that others are not


@cache
def engine(size: str, decoding: str) -> TransformersEngine:
    model, processor = build(size)
    family = architecture_of(model.config.model_type)
    assert family is not None
    return TransformersEngine(
        family(model, processor), size, max_new_tokens=NEW_TOKENS, focus_layers=LAYERS, decoding=decoding
    )


def picture(seed: int = 3) -> Any:
    return np.random.default_rng(seed).integers(0, 255, (120, 160, 3), dtype=np.uint8)


def prompts(size: str) -> list[Prompt]:
    focus = np.zeros(engine(size, "growing").grid(160, 120), np.float32)
    focus[1:3, 1:3] = 1.0
    return [
        Prompt(history, (picture(),), QUESTION, focus=focus, beta=beta, keep=keep)
        for history, (beta, keep) in product(((), HISTORY), ((0.0, 1.0), (3.0, 1.0), (1.0, 0.5)))
    ]


@pytest.mark.parametrize("size", TINY)
def test_tokens_are_those_of_the_growing_cache_whatever_is_steered_pruned_reused_or_drafted(size: str) -> None:
    growing, static = engine(size, "growing"), engine(size, "graph")
    assert static._static is not None
    for prompt in prompts(size):
        tokens = growing.complete(prompt, draft=()).tokens
        assert len(tokens) == NEW_TOKENS
        wrong = (*tokens[:3], *((token + 1) % 100 for token in tokens[3:]))
        for draft in ((), tokens[:4], wrong):
            one, other = growing.complete(prompt, draft=draft), static.complete(prompt, draft=draft)
            assert other.tokens == one.tokens == tokens
            assert other.confidence == pytest.approx(one.confidence, abs=1e-5)
            assert other.accepted_tokens == one.accepted_tokens
        assert not prompt.history or other.reused_tokens > 0


def test_focus_changes_what_static_steps_compute() -> None:
    # so that the comparison above is one of something
    plain, steered, *_ = prompts(TINY[0])
    static = engine(TINY[0], "graph")
    assert static.complete(plain, draft=()).tokens != static.complete(steered, draft=()).tokens


@pytest.mark.parametrize("size", TINY)
def test_the_memory_that_is_foretold_has_its_buffers(size: str) -> None:
    static = engine(size, "graph")
    shape = shape_of(static.architecture.model.config)
    decoder = static._static
    assert decoder is not None
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in decoder._cache.layers)
    with_them, without = (memory_need(shape, "none", "cpu", static=tokens).cache for tokens in (decoder.room, 0))
    assert with_them - without == held


def test_a_compiler_may_trace_the_pass() -> None:
    size = TINY[0]
    growing = engine(size, "growing")
    architecture = growing.architecture
    static = StaticDecoder(architecture.decoder, architecture.model.lm_head, (3, 1), frozenset(LAYERS), 512, "eager")
    traced = TransformersEngine(architecture, size, max_new_tokens=NEW_TOKENS, focus_layers=LAYERS)
    traced._static = static
    for prompt in prompts(size)[:4]:
        assert traced.complete(prompt, draft=()).tokens == growing.complete(prompt, draft=()).tokens


def test_a_prompt_that_does_not_fit_is_decoded_on_its_growing_cache() -> None:
    size = TINY[0]
    architecture = engine(size, "growing").architecture
    short = TransformersEngine(architecture, size, max_new_tokens=NEW_TOKENS, focus_layers=LAYERS)
    short._static = StaticDecoder(architecture.decoder, architecture.model.lm_head, (3, 1), frozenset(), 64)
    prompt = prompts(size)[-1]
    assert short.complete(prompt).prompt_tokens > 64
    assert short.complete(prompt, draft=()).tokens == engine(size, "growing").complete(prompt, draft=()).tokens


def test_what_is_no_number_is_told_and_nothing_of_it_remains() -> None:
    model, processor = build(TINY[0])
    family = architecture_of(model.config.model_type)
    assert family is not None
    sick = TransformersEngine(family(model, processor), "sick", max_new_tokens=4, decoding="graph")
    prompt = Prompt(HISTORY, (picture(),), QUESTION)
    well = sick.complete(prompt, draft=()).tokens
    assert sick._static is not None
    with torch.inference_mode():
        sick._static._cache.layers[0].values.fill_(float("nan"))  # behind what the prompt will overwrite too
    with pytest.raises(EngineError, match="NaN"):
        sick.complete(prompt, draft=())
    assert sick.complete(prompt, draft=()).tokens == well


def test_a_model_that_cannot_be_decoded_so_is_decoded_as_ever_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    architecture = engine(TINY[0], "growing").architecture
    config, prompt = architecture.decoder.config, Prompt((), (picture(),), QUESTION)
    monkeypatch.setattr(config, "_attn_implementation_internal", "eager")
    with caplog.at_level(logging.WARNING):
        other = TransformersEngine(architecture, "other", max_new_tokens=NEW_TOKENS, decoding="graph")
    assert "other is decoded on a growing cache: its attention is eager" in caplog.text
    assert len(other.complete(prompt).tokens) == NEW_TOKENS


def test_a_sliding_window_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = engine(TINY[0], "growing").architecture
    config = architecture.decoder.config
    monkeypatch.setattr(config, "sliding_window", 4096)
    monkeypatch.setattr(config, "layer_types", ["sliding_attention"] * len(config.layer_types))
    with pytest.raises(StaticError, match="sliding"):
        StaticDecoder(architecture.decoder, architecture.model.lm_head, (3, 1), frozenset(), 64)


def test_one_that_computes_something_else_is_found_before_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = engine(TINY[0], "growing").architecture

    def begin_elsewhere(self: StaticDecoder, cache: Any, length: int, token: int, position: Any, bias: Any) -> None:
        begin(self, cache, length, token + 1, position, bias)

    begin = StaticDecoder.begin
    monkeypatch.setattr(static_decoding.StaticDecoder, "begin", begin_elsewhere)
    with pytest.raises(StaticError, match="something else"):
        StaticDecoder(architecture.decoder, architecture.model.lm_head, (3, 1), frozenset(), 64)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("size", TINY)
def test_a_cuda_graph_says_what_the_growing_cache_does(size: str) -> None:
    engines = []
    for decoding in ("growing", "graph"):
        model, processor = build(size)
        family = architecture_of(model.config.model_type)
        assert family is not None
        engines.append(
            TransformersEngine(
                family(model.cuda(), processor), size, max_new_tokens=NEW_TOKENS, focus_layers=LAYERS, decoding=decoding
            )
        )
    growing, static = engines
    assert static._static is not None
    assert static._static._graph is not None
    for prompt in prompts(size):
        assert static.complete(prompt, draft=()).tokens == growing.complete(prompt, draft=()).tokens

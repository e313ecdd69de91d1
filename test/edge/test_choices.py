# SPDX-License-Identifier: Apache-2.0
"""The tree of choices against one plain forward pass for each of them, on a tiny random model of every family."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgevlm_ros.assets import bag_path, model_path
from edgevlm_ros.edge.architectures.registry import ARCHITECTURES, architecture_of
from edgevlm_ros.edge.choices import MOST_CHARACTERS, MOST_CHOICES, checked_choices, token_tree
from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.random_models import build
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.evaluation.streams import open_stream
from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.world import questions

TINY = ("tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-smolvlm", "tiny-idefics3", "tiny-llava", "tiny-llava-onevision")
CHOICES = ("left", "left aisle", "left aisle, near the door", "right", "not in view")
HISTORY = (Exchange("where is it?", "on the left, near the door"),)
QUESTION = "where is the person?"


@cache
def engine(size: str, reuse: bool = True, temperature: float = 1.0) -> TransformersEngine:
    model, processor = build(size)
    family = architecture_of(model.config.model_type)
    assert family is not None
    return TransformersEngine(family(model, processor), size, reuse=reuse, choice_temperature=temperature)


@cache
def bundled() -> TransformersEngine:
    return load_engine(EngineSettings(model_path("micro_svlm"), threads=1))


def picture(seed: int = 3, width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def prompts(size: str) -> list[Prompt]:
    """Plain, and with everything that must go on working: a second view, steering, pruning."""
    focus = np.zeros(engine(size).grid(160, 120), np.float32)
    focus[1:3, 1:3] = 1.0
    both = (picture(3), picture(4, 80, 60))
    return [
        Prompt((), (picture(3),), QUESTION, choices=CHOICES),
        Prompt(HISTORY, both, QUESTION, focus=focus, beta=2.0, choices=CHOICES),
        Prompt(HISTORY, both, QUESTION, focus=focus, beta=1.0, keep=0.4, choices=CHOICES),
    ]


@torch.inference_mode()
def one_by_one(tested: TransformersEngine, prompt: Prompt) -> torch.Tensor:
    """Logarithms of each choice's probability among all texts, from a forward pass of its own."""
    layout, _ = tested.layout(prompt)
    scores = []
    for ids in tested.prompt_text.answers(len(prompt.images), prompt.question, prompt.choices):
        with tested._steering(layout.bias(prompt)):
            logits = tested._prefill(layout, ids)[0]
        chances = torch.log_softmax(logits.float(), -1)
        ends = torch.logsumexp(chances[-1, sorted(tested._ends)], -1)
        scores.append(sum(chances[row, token] for row, token in enumerate(ids)) + ends)
    return torch.stack(scores)


def test_every_family_is_tested() -> None:
    tested = {engine(size).architecture.model.config.model_type for size in TINY}
    assert tested == {name for family in ARCHITECTURES for name in family.model_types}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("size", TINY)
def test_one_pass_weighs_the_choices_as_a_pass_for_each(size: str, attention: str) -> None:
    engine(size).architecture.model.set_attn_implementation(attention)
    try:
        for prompt in prompts(size):
            expected = torch.softmax(one_by_one(engine(size, False), prompt).double(), -1)
            for _ in range(2):  # the second time behind a prefix that is reused
                found = engine(size).complete(prompt)
                assert np.log(found.probabilities) == pytest.approx(expected.log().numpy(), abs=1e-4)
                assert sum(found.probabilities) == pytest.approx(1.0)
                assert found.text == CHOICES[int(expected.argmax())]
                assert found.confidence == max(found.probabilities)
            assert found.reused_tokens == (len(engine(size).prompt_text.beginning(prompt.history)))
    finally:
        engine(size).architecture.model.set_attn_implementation("sdpa")


@pytest.mark.parametrize("size", TINY)
def test_all_choices_take_one_pass_and_leave_nothing_behind(size: str) -> None:
    plain = Prompt(HISTORY, (picture(),), QUESTION)
    before = engine(size).complete(plain)
    passes: list[int] = []
    handle = engine(size).architecture.decoder.register_forward_pre_hook(lambda *_: passes.append(1))
    try:
        engine(size).complete(prompts(size)[1])
    finally:
        handle.remove()
    assert len(passes) == 1
    assert engine(size).complete(plain).tokens == before.tokens


@pytest.mark.parametrize("size", TINY)
def test_a_choice_has_the_tokens_that_the_models_own_template_gives_it(size: str) -> None:
    tested = engine(size)
    messages = [
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        {"role": "assistant", "content": [{"type": "text", "text": "left aisle"}]},
    ]
    processor = tested.architecture.processor
    whole = processor.tokenizer(processor.apply_chat_template(messages, tokenize=False))["input_ids"]
    (ids,) = tested.prompt_text.answers(1, QUESTION, ("left aisle",))
    assert any(tuple(whole[start : start + len(ids)]) == ids for start in range(len(whole)))
    assert "".join(tested._tokenizer.decode(ids).split()) == "leftaisle"


def test_a_temperature_flattens_the_probabilities_and_keeps_the_answer() -> None:
    sharp, flat = (engine(TINY[0], temperature=t).complete(prompts(TINY[0])[0]) for t in (1.0, 4.0))
    assert flat.text == sharp.text
    assert max(flat.probabilities) < max(sharp.probabilities)


def test_markup_in_a_choice_opens_no_turn() -> None:
    tested = engine(TINY[0])
    forged = tuple(f"{markup}{number}" for number, markup in enumerate(tested.prompt_text.markup))
    for ids in tested.prompt_text.answers(1, "?", forged):
        assert not set(ids) & set(tested._tokenizer.added_tokens_decoder)


def test_a_choice_that_only_the_models_own_markup_makes_is_named() -> None:
    tested = bundled()
    own = next(token for token in tested.prompt_text.markup if checked_choices([token, "left"])[0] == token.strip())
    asked = Prompt((), (picture(),), QUESTION)
    with pytest.raises(EngineError, match="nothing but this model's markup"):
        tested.complete(replace(asked, choices=(own, "left")))
    with pytest.raises(EngineError, match="are one choice"):
        tested.complete(replace(asked, choices=("left", f"left {own}")))


def test_where_a_free_answer_is_a_choice_the_bundled_model_chooses_it() -> None:
    tested, compared = bundled(), 0
    stream = open_stream(bag_path("demo"))
    for truth in stream.truths[:: len(stream.truths) // 12]:
        asked = Prompt((), (stream.frame(truth.stamp).image,), truth.question.text)
        allowed = questions.answers(truth.question.text)
        free = tested.complete(asked, draft=()).text
        if free in allowed:
            compared += 1
            assert tested.complete(replace(asked, choices=allowed)).text == free
    assert compared >= 10


def test_a_model_that_forgets_says_that_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = engine(TINY[0]).architecture
    config = architecture.decoder.config
    monkeypatch.setattr(config, "sliding_window", 4096)
    monkeypatch.setattr(config, "layer_types", ["sliding_attention"] * len(config.layer_types))
    tested = TransformersEngine(architecture, "tiny")
    assert not tested.capabilities.choices
    with pytest.raises(EngineError, match="cannot weigh choices"):
        tested.complete(prompts(TINY[0])[0])


def test_choices_are_lines_without_markup() -> None:
    assert checked_choices([]) == ()
    assert checked_choices([" left\naisle", "<|im_end|>right"]) == ("left aisle", "right")


@pytest.mark.parametrize(
    ("choices", "why"),
    [
        (["left", ""], "needs words"),
        (["left", "<|im_end|>"], "needs words"),
        (["left", " left "], "twice"),
        (["left"], "two answers or more"),
        (["left", "x" * (MOST_CHARACTERS + 1)], "at most 80"),
        ([str(number) for number in range(MOST_CHOICES + 1)], "at most 64"),
    ],
)
def test_choices_that_cannot_be_are_named(choices: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        checked_choices(choices)


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=8))
def test_the_tree_holds_every_answer_and_shares_what_begins_alike(answers: list[list[int]]) -> None:
    tree = token_tree(answers)
    ancestry, depths = tree.ancestry(), tree.depths
    for answer, path in zip(answers, tree.paths, strict=True):
        assert [tree.tokens[index] for index in path] == answer
        assert [depths[index] for index in path] == list(range(len(answer)))
        assert ancestry[path[-1]].nonzero().flatten().tolist() == list(path)
    beginnings = {tuple(answer[:length]) for answer in answers for length in range(1, len(answer) + 1)}
    assert len(tree.tokens) == len(beginnings)

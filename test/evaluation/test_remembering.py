# SPDX-License-Identifier: Apache-2.0
"""An engine with a memory: each distinct prompt once, and the same answers as without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevlm_ros.edge.engine import Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.evaluation.remembering import Digests, PureEngine, RememberingEngine, RememberingEyes, Shelf
from edgevlm_ros.transfer.conversation import Exchange
from support.small_scene import SmallModel

RNG = np.random.default_rng(1)
FRAME, OTHER = (RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(2))
MAP = np.ones((3, 4), np.float32)


def test_a_prompt_of_the_same_content_is_answered_once() -> None:
    model = SmallModel()
    engine = RememberingEngine(model)
    for image in (FRAME, FRAME.copy()):
        engine.complete(Prompt((), (image,), "Where?"))
        engine.complete(Prompt((), (image,), "Where?", focus=MAP, beta=0.0))  # a map that steers nothing
    assert (len(model.prompts), engine.asked, engine.answered) == (1, 4, 1)


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt((), (OTHER,), "Where?"),
        Prompt((), (FRAME, OTHER), "Where?"),
        Prompt((), (FRAME,), "Who?"),
        Prompt((Exchange("Where?", "left"),), (FRAME,), "Where?"),
        Prompt((), (FRAME,), "Where?", pixel_share=0.5),
        Prompt((), (FRAME,), "Where?", choices=("left", "right")),
        Prompt((), (FRAME,), "Where?", focus=MAP, beta=1.0),
        Prompt((), (FRAME,), "Where?", focus=MAP, keep=0.5),
    ],
)
def test_whatever_may_change_the_answer_makes_another_prompt(prompt: Prompt) -> None:
    model = SmallModel()
    engine = RememberingEngine(model)
    engine.complete(Prompt((), (FRAME,), "Where?"))
    engine.complete(prompt)
    assert len(model.prompts) == 2


def test_images_of_other_shapes_with_the_same_bytes_differ() -> None:
    digests = Digests()
    assert digests.of(FRAME) != digests.of(FRAME.reshape(64, 48, 3))
    assert digests.of(FRAME) == digests.of(FRAME.copy())


def test_a_real_model_says_the_same_whatever_it_was_asked_before(tiny_model: Path) -> None:
    settings = EngineSettings(str(tiny_model), "cpu", threads=1, max_new_tokens=6)
    loaded = load_engine(settings)
    pure = PureEngine(loaded, settings)
    told = Prompt((Exchange("Where?", "left"),), (FRAME, OTHER), "Where?")
    plain = Prompt((), (FRAME,), "Where?")
    first = [RememberingEngine(pure).complete(prompt) for prompt in (told, plain)]
    second = [RememberingEngine(pure).complete(prompt) for prompt in (plain, told)]
    assert [(done.tokens, done.confidence) for done in first] == [(d.tokens, d.confidence) for d in reversed(second)]
    assert [done.tokens for done in first] == [loaded.complete(prompt).tokens for prompt in (told, plain)]


def test_eyes_see_each_view_once_and_features_are_handed_out_as_copies(tiny_model: Path) -> None:
    loaded = load_engine(EngineSettings(str(tiny_model), "cpu", threads=1))
    eyes = RememberingEyes(loaded.architecture)
    assert eyes.see(eyes.pixels(FRAME)) is eyes.see(eyes.pixels(FRAME.copy()))
    assert eyes.see(eyes.pixels(FRAME)) is not eyes.see(eyes.pixels(OTHER))
    engine = RememberingEngine(TransformersEngine(eyes, "eyes"))
    features = engine.see(FRAME)
    assert features is not None
    before = features.copy()
    features += 1.0
    np.testing.assert_array_equal(engine.see(FRAME), before)


def test_a_full_shelf_gives_up_what_was_not_asked_for() -> None:
    shelf: Shelf[str] = Shelf(most_bytes=10)
    shelf.put("a", "A", 5)
    shelf.put("b", "B", 5)
    shelf.get("a")
    shelf.put("c", "C", 5)
    assert [key in shelf for key in "abc"] == [True, False, True]
    shelf.put("large", "L", 50)
    assert [key in shelf for key in ("a", "c", "large")] == [False, False, True]
    assert next(shelf.newest_first()) == "L"

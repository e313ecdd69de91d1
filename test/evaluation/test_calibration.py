# SPDX-License-Identifier: Apache-2.0
"""Beta from attention that was measured, on tiny models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgevlm_ros.edge.engine import Capabilities, EngineError
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.evaluation.annotated_frames import AnnotatedFrame
from edgevlm_ros.evaluation.bench_process import load
from edgevlm_ros.evaluation.calibration import Calibration, Shares, calibrate, cases, choose
from edgevlm_ros.transfer.types import Frame, Question, Region

SWEEP = (0.0, 1.0, 2.0, 4.0)
ASKED = Question("where is the person?")


def engine(size: str) -> TransformersEngine:
    return TransformersEngine(load(size), size, max_new_tokens=3)


def frames(**known: Any) -> list[AnnotatedFrame]:
    image = np.random.default_rng(4).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    return [AnnotatedFrame(Frame(10**10, image), **known)]


def known() -> list[AnnotatedFrame]:
    return frames(question=ASKED, answer="left", regions=(Region("person", 1.0, 20, 30, 80, 90),))


@pytest.fixture(scope="module", params=["tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-smolvlm", "tiny-llava"])
def found(request: pytest.FixtureRequest) -> Calibration:
    tested = engine(request.param)
    return calibrate(tested, cases(tested, known()), 0.8, sweep=SWEEP)


def test_the_shares_are_all_of_the_attention(found: Calibration) -> None:
    for shares in found.curve:
        assert shares.region + shares.elsewhere + shares.text == pytest.approx(1.0)
        assert min(shares.region, shares.elsewhere, shares.text) > 0.0


def test_the_stronger_the_bias_the_more_the_region_gets_and_the_less_the_text(found: Calibration) -> None:
    regions, texts = ([getattr(shares, name) for shares in found.curve] for name in ("region", "text"))
    assert regions == sorted(regions)
    assert texts == sorted(texts, reverse=True)


def test_the_chosen_beta_is_the_strongest_that_leaves_the_text_its_share(found: Calibration) -> None:
    least = 0.8 * found.curve[0].text
    assert found.chosen.text >= least
    assert all(shares.text < least for shares in found.curve if shares.beta > found.beta)
    assert 0.0 <= found.changed <= 1.0


def test_a_text_that_loses_its_share_once_is_lost() -> None:
    curve = [Shares(beta, 0.0, 0.0, text) for beta, text in ((0.0, 0.5), (1.0, 0.45), (2.0, 0.3), (3.0, 0.5))]
    assert choose(curve, 0.8) == 1.0
    assert choose(curve, 0.1) == 3.0
    assert choose(curve, 1.0) == 0.0


def test_only_the_layers_that_are_steered_are_measured() -> None:
    tested = TransformersEngine(load("tiny-qwen2.5-vl"), "tiny", max_new_tokens=2, focus_layers=(2,))
    made = cases(tested, known())
    last, all_of_them = (calibrate(tested, made, 0.8, layers, SWEEP) for layers in ((2,), ()))
    assert last.curve[-1].region - last.curve[0].region > all_of_them.curve[-1].region - all_of_them.curve[0].region


def test_without_ground_truth_the_boxes_are_random_and_always_the_same() -> None:
    tested = engine("tiny-qwen2.5-vl")
    [one], [again], [other] = (cases(tested, frames(), seed=seed) for seed in (1, 1, 2))
    assert one.prompt.history == ()
    assert one.prompt.focus is not None
    assert np.array_equal(one.prompt.focus, again.prompt.focus)
    assert not np.array_equal(one.prompt.focus, other.prompt.focus)
    assert calibrate(tested, [one], 0.8, sweep=SWEEP).right is None


def test_the_truth_stands_in_the_history_only_of_its_own_question() -> None:
    tested = engine("tiny-qwen2.5-vl")
    [own], [other] = cases(tested, known()), cases(tested, known(), question="what is it?")
    assert [exchange.said for exchange in own.prompt.history] == ["left"]
    assert other.prompt.history == ()


def test_an_engine_that_cannot_be_steered_is_refused() -> None:
    tested = engine("tiny-qwen2.5-vl")
    made = cases(tested, known())
    tested._capabilities = Capabilities(frozenset({"crop"}))
    with pytest.raises(EngineError, match="cannot be steered by attention"):
        calibrate(tested, made, 0.8)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgevlm_ros.edge.preset import Preset, load_preset, save_preset
from edgevlm_ros.evaluation.choice_calibration import Weighed, figures, fitted, main, possible
from edgevlm_ros.evaluation.streams import open_stream
from edgevlm_ros.world import questions


def weighed(surer: float, count: int = 800) -> list[Weighed]:
    """Answers of a model that says the logarithm of what is true, so many times."""
    rng = np.random.default_rng(5)
    logits = rng.normal(0.0, 2.0, (count, 4))
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    truths = [int(rng.choice(4, p=row)) for row in chances]
    return [Weighed(surer * row, truth, True, 0.01, 0.02) for row, truth in zip(logits, truths, strict=True)]


@pytest.mark.parametrize("surer", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_how_much_too_sure_a_model_is(surer: float) -> None:
    found = weighed(surer)
    temperature = fitted(found)
    assert temperature == pytest.approx(surer, rel=0.15)
    before, after = figures(found, 1.0), figures(found, temperature)
    assert after.nll <= before.nll
    assert after.ece < 0.05
    assert after.accuracy == before.accuracy
    assert sum(count for _, _, count in after.reliability) == len(found)


def test_the_worlds_questions_are_weighed_with_all_answers_not_with_those_of_the_streams() -> None:
    stream = open_stream(Path(__file__).resolve().parents[2] / "bags" / "demo")
    found = possible([stream])
    assert set(found) <= set(questions.ALL)
    for text, choices in found.items():
        assert choices == questions.answers(text)
        assert {truth.answer for truth in stream.truths if truth.question.text == text} <= set(choices)


def test_nothing_to_calibrate_on_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["micro_svlm", "--streams", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "no such bag or folder" in capsys.readouterr().err


def test_the_preset_gets_the_temperature_and_keeps_its_beta(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "tiny"))
    save_preset(str(model), Preset(1.25, "here"))
    demo = Path(__file__).resolve().parents[2] / "bags" / "demo"
    asked = [str(model), "--streams", str(demo), "--frames", "6", "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    preset = load_preset(str(model))
    assert (preset.beta, preset.measured) == (1.25, "here")
    assert 0.05 <= preset.choice_temperature <= 20.0
    assert "6 frames" in preset.choices_measured
    assert (tmp_path / "out" / "tiny.png").stat().st_size > 1000
    assert main([*asked, "--check", "3.5"]) == 0
    assert "T 3.50" in capsys.readouterr().out
    assert main([*asked, "--dry-run"]) == 0
    assert load_preset(str(model)) == preset

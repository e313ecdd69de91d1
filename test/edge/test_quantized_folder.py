# SPDX-License-Identifier: Apache-2.0
"""A model that was saved quantised says what it said before, and is taken as any other folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevlm_ros.assets import model_path
from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.preset import Preset, load_preset, save_preset
from edgevlm_ros.edge.quantized_folder import quantize, size_of
from edgevlm_ros.edge.random_models import build
from edgevlm_ros.edge.transformers_engine import TransformersEngine

IMAGE = np.random.default_rng(3).integers(0, 255, (120, 160, 3), dtype=np.uint8)
PROMPT = Prompt((), (IMAGE,), "what?")
FAMILIES = (
    "tiny-qwen2.5-vl",
    "tiny-qwen3-vl",
    "tiny-smolvlm",
    "tiny-idefics3",
    "tiny-llava",
    "tiny-llava-onevision",
)


def engine(folder: Path | str, quantization: str = "none") -> TransformersEngine:
    return load_engine(EngineSettings(str(folder), device="cpu", quantization=quantization, max_new_tokens=8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for family in FAMILIES:
        made[family] = tmp_path_factory.mktemp(family)
        for part in build(family):
            part.save_pretrained(made[family])
    return made


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_says_the_same_before_it_is_saved_and_after(
    family: str, quantization: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    saved = quantize(str(folders[family]), quantization, tmp_path / "saved")
    before, after = engine(folders[family], quantization), engine(saved)
    assert after.complete(PROMPT).tokens == before.complete(PROMPT).tokens
    kinds = [
        [type(module).__name__ for module in one.architecture.model.modules() if "Linear" in type(module).__name__]
        for one in (before, after)
    ]
    assert kinds[0] == kinds[1]


def test_what_lies_beside_the_weights_is_kept_and_they_are_smaller(tmp_path: Path) -> None:
    source = Path(model_path("micro_svlm"))
    saved = quantize(str(source), "nf4", tmp_path / "saved")
    assert size_of(saved) < 0.75 * size_of(source)
    beside = {file.name for file in source.iterdir() if file.suffix in (".json", ".jinja", ".txt")}
    assert beside <= {file.name for file in saved.iterdir()}
    assert load_preset(str(saved)) == load_preset(str(source))
    assert engine(saved).complete(PROMPT).tokens == engine(source, "nf4").complete(PROMPT).tokens


def test_a_calibrated_preset_comes_with_it(folders: dict[str, Path], tmp_path: Path) -> None:
    save_preset(str(folders["tiny-smolvlm"]), Preset(1.25, "here"))
    assert load_preset(str(quantize(str(folders["tiny-smolvlm"]), "int8", tmp_path / "saved"))).beta == 1.25


def test_what_was_asked_for_and_what_was_saved_must_agree(folders: dict[str, Path], tmp_path: Path) -> None:
    saved = quantize(str(folders["tiny-llava"]), "nf4", tmp_path / "saved")
    assert engine(saved, "auto").complete(PROMPT).tokens == engine(saved, "nf4").complete(PROMPT).tokens
    with pytest.raises(EngineError, match="saved as nf4 and cannot become int8"):
        engine(saved, "int8")
    with pytest.raises(EngineError, match="is saved as nf4 already"):
        quantize(str(saved), "int8", tmp_path / "again")


def test_nothing_is_written_over(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(EngineError, match="is not empty"):
        quantize(str(folders["tiny-llava"]), "nf4", tmp_path)


def test_another_family_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(EngineError, match="'llama' model; the edge engine runs"):
        quantize(str(tmp_path), "nf4", tmp_path / "saved")

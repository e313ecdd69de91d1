# SPDX-License-Identifier: Apache-2.0
"""A large model cut in two says what the whole one says, in each family."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgevlm_ros.cloud.eyes import Eyes, identity
from edgevlm_ros.cloud.features import Features, FeaturesError, Layer, read_features, to_bytes
from edgevlm_ros.cloud.listener import Listener
from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.random_models import save
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from support.hub_cache import put, use_cache
from support.tiny_lvlm import REPLY, make_tiny_lvlm

FRAME = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
FAMILIES = ("tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-smolvlm", "tiny-llava-onevision")


def whole(folder: Path) -> TransformersEngine:
    return load_engine(EngineSettings(str(folder), "cpu", threads=1, system_prompt="Look.", max_new_tokens=6))


def listener(engine: TransformersEngine, eyes: Eyes) -> Listener:
    return Listener(engine.architecture, "tiny", eyes.identity)


@pytest.mark.parametrize("size", FAMILIES)
def test_the_language_model_is_left_out_and_what_is_seen_is_the_same(size: str, tmp_path: Path) -> None:
    folder = save(size, tmp_path, ends=False)
    engine, eyes = whole(folder), Eyes(str(folder))
    family = engine.architecture
    with torch.inference_mode():
        sight = family.see(family.pixels(FRAME))
    features = eyes.see(FRAME)
    for layer, seen in zip(features.layers, (sight.features, *sight.deep), strict=True):
        assert np.abs(layer.values - seen.numpy()).max() <= seen.abs().max() / 127
    decoder = eyes._family.decoder
    assert sum(each.numel() for each in decoder.parameters()) < 2000
    # through int8 a token may differ, so what went up whole is compared
    exact = replace(features, layers=tuple(map(_exact, (sight.features, *sight.deep))))
    said = listener(engine, eyes).answer(exact, "Look.", "Where?", 6)
    assert said.tokens == engine.complete(Prompt((), (FRAME,), "Where?")).tokens
    eyes.close()


def _exact(values: torch.Tensor) -> Layer:
    """Rows that no rounding has touched, which no int8 can hold."""
    return Layer(values.numpy(), np.ones(len(values), np.float16))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_lvlm(tmp_path_factory.mktemp("models") / "tiny_lvlm")


@pytest.mark.parametrize("keep", [1.0, 0.5, 0.01])
def test_fewer_tokens_are_fewer_bytes_and_a_shorter_prompt(folder: Path, keep: float) -> None:
    eyes, engine = Eyes(str(folder), keep), whole(folder)
    features = read_features(to_bytes(eyes.see(FRAME)))
    count = max(1, round(keep * 16))
    assert (len(features.kept), features.tokens) == (count, 16)
    assert features.layers[0].rows.nbytes == count * 64
    said = listener(engine, eyes).answer(features, "", "Where?", 64)
    assert said.text == "".join(REPLY)
    assert said.visual_tokens == count
    eyes.close()


def test_two_views_of_one_size_are_two_views(folder: Path) -> None:
    eyes, engine = Eyes(str(folder)), whole(folder)
    ears = listener(engine, eyes)
    for frame in (FRAME, 255 - FRAME):
        features = eyes.see(frame)
        ears.answer(features, "", "Where?", 4)
        seen = ears._told.see(ears._told.pixels(frame)).features.numpy()
        assert np.array_equal(seen, features.layers[0].values)
    eyes.close()


def test_other_eyes_are_refused(folder: Path, tmp_path: Path) -> None:
    other = make_tiny_lvlm(tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    name = next(name for name in tensors if "projector" in name)
    tensors[name] += 1
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    eyes, strangers = Eyes(str(folder)), Eyes(str(other))
    with pytest.raises(FeaturesError, match="the same model"):
        listener(whole(folder), eyes).answer(strangers.see(FRAME), "", "?", 4)
    eyes.close()
    strangers.close()


def test_a_language_model_trained_further_behind_the_same_eyes_fits(folder: Path, tmp_path: Path) -> None:
    other = make_tiny_lvlm(tmp_path / "other")
    family = architecture_of("llava")
    assert family is not None
    tensors = load_file(other / "model.safetensors")
    tensors |= {name: value + 1 for name, value in tensors.items() if "language_model" in name}
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    assert identity(str(other), family) == identity(str(folder), family)


@pytest.mark.parametrize(
    "change", [{"tokens": 17}, {"layers": (Layer(np.zeros((16, 8), np.int8), np.ones(16, np.float16)),)}]
)
def test_a_view_that_this_model_would_not_have_is_refused(folder: Path, change: dict[str, object]) -> None:
    eyes = Eyes(str(folder))
    features: Features = replace(eyes.see(FRAME), **change)  # type: ignore[arg-type]
    with pytest.raises(FeaturesError, match=r"17 tokens|rows of 8"):
        listener(whole(folder), eyes).answer(features, "", "?", 4)
    eyes.close()


def test_a_pinned_commit_gives_its_own_eyes_whatever_the_branch_shows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = make_tiny_lvlm(tmp_path / "newer")
    tensors = load_file(newer / "model.safetensors")
    tensors |= {name: value + 1 for name, value in tensors.items() if "projector" in name}
    save_file(tensors, newer / "model.safetensors", {"format": "pt"})
    pinned, newest = "1" * 40, "2" * 40
    put(tmp_path / "hub", "org/big", folder, pinned)
    put(tmp_path / "hub", "org/big", newer, newest, branch="main")
    use_cache(tmp_path / "hub", monkeypatch)
    for revision, there in ((pinned, folder), (newest, newer), ("main", newer)):
        eyes, same = Eyes("org/big", revision=revision), Eyes(str(there))
        assert eyes.identity == same.identity
        assert to_bytes(eyes.see(FRAME)) == to_bytes(same.see(FRAME))
        eyes.close()
        same.close()
    with pytest.raises(EngineError, match=f"revision '{'3' * 40}' of it is not in the hub's cache here"):
        Eyes("org/big", revision="3" * 40)


def test_a_model_that_cannot_be_cut_says_which_can(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EngineError, match=r"cannot be cut behind its eyes: .*llava.* Set upload to image"):
        Eyes(str(tmp_path))


def test_eyes_that_lack_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    other = make_tiny_lvlm(tmp_path / "other")
    tensors = {name: value for name, value in load_file(other / "model.safetensors").items() if "vision" not in name}
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(EngineError, match=r"lack .* of its eyes"):
        Eyes(str(other))

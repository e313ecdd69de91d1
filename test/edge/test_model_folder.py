# SPDX-License-Identifier: Apache-2.0
"""Folders that are not whole, or not harmless, are refused by the name of the file, whatever is wrong."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.random_models import build

PICTURE = np.random.default_rng(3).integers(0, 255, (120, 160, 3), dtype=np.uint8)


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    model, processor = build("tiny-qwen2.5-vl")
    model.save_pretrained(folder, max_shard_size="200KB")
    processor.tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    return folder


def cut(path: Path, share: float = 0.6) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


class Harm:
    """A pickle that does something as soon as it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


def pickled(folder: Path, name: str) -> Path:
    mark = folder.parent / "harm"
    (folder / "model.safetensors").unlink()
    with (folder / name).open("wb") as file:
        pickle.dump(Harm(mark), file)
    return mark


def own_code(folder: Path, model_type: str) -> Path:
    mark = folder.parent / "harm"
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= {"model_type": model_type, "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    path.write_text(json.dumps(config))
    (folder / "code.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    return mark


def refusal(folder: Path) -> str:
    with pytest.raises(EngineError) as told:
        load_engine(EngineSettings(str(folder), device="cpu"))
    text = str(told.value)
    assert "\n" not in text
    assert len(text) < 600
    return text


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_weights_that_are_cut_off_are_named(folder: Path, share: float) -> None:
    cut(folder / "model.safetensors", share)
    assert "model.safetensors is cut off or damaged" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"])
def test_a_file_of_words_that_is_cut_off_is_named(folder: Path, name: str) -> None:
    cut(folder / name)
    assert f"{name} is cut off or damaged" in refusal(folder)


def test_a_missing_shard_is_named(shards: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shards, tmp_path / "model")
    first, *_ = sorted(folder.glob("*.safetensors"))
    first.unlink()
    assert f"lacks {first.name} of" in refusal(folder)


def test_a_shard_that_is_cut_off_is_named(shards: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shards, tmp_path / "model")
    *_, last = sorted(folder.glob("*.safetensors"))
    cut(last)
    assert f"{last.name} is cut off or damaged" in refusal(folder)


def test_an_index_that_places_nothing_is_named(shards: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shards, tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text("[]")
    assert "model.safetensors.index.json places no weights" in refusal(folder)


def test_all_shards_together_answer(shards: Path) -> None:
    engine = load_engine(EngineSettings(str(shards), device="cpu", max_new_tokens=2))
    assert engine.complete(Prompt((), (PICTURE,), "what?")).tokens


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_a_pickle_is_refused_and_never_opened(folder: Path, name: str) -> None:
    mark = pickled(folder, name)
    assert f"only as {name}: a pickle can run any code" in refusal(folder)
    assert not mark.exists()


def test_weights_that_really_are_torch_s_own_pickle_are_refused_too(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(2)}, folder / "pytorch_model.bin")
    assert "only safetensors are taken" in refusal(folder)


def test_a_model_that_brings_code_is_refused_and_the_code_is_not_run(folder: Path) -> None:
    mark = own_code(folder, "mine")
    assert "brings code of its own" in refusal(folder)
    assert not mark.exists()


def test_code_beside_a_family_that_is_built_in_is_not_run(folder: Path) -> None:
    mark = own_code(folder, "qwen2_5_vl")
    engine = load_engine(EngineSettings(str(folder), device="cpu", max_new_tokens=2))
    assert engine.complete(Prompt((), (PICTURE,), "what?")).tokens
    assert not mark.exists()


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[1, 2]")


def another(folder: Path) -> None:
    empty(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))


def invented(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "no_such_thing"}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (empty, "is empty. Copy or fetch the whole folder again"),
        (without_weights, "has no weights (no model.safetensors"),
        (without_config, "has no config.json"),
        (a_list, "config.json names no model_type"),
        (another, "'llama' model; the edge engine runs"),
        (invented, "no_such_thing"),
    ],
)
def test_what_is_no_model_of_ours_is_refused_with_what_it_lacks(
    folder: Path, spoil: Callable[[Path], None], says: str
) -> None:
    spoil(folder)
    assert says in refusal(folder)

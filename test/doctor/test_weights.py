# SPDX-License-Identifier: Apache-2.0
"""Files of weights: whole ones, cut ones, pointers, pickles."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from edgevlm_ros.doctor.weights import WeightsError, elements_of, read_weights

TENSORS = {"a": np.ones((3, 4), np.float32), "b": np.zeros((5,), np.float16)}
WHOLE = save(TENSORS, metadata={"format": "pt"})


def written(folder: Path, data: bytes) -> Path:
    file = folder / "model.safetensors"
    file.write_bytes(data)
    return file


def test_a_whole_file_is_counted(tmp_path: Path) -> None:
    assert elements_of(written(tmp_path, WHOLE)) == 17


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_that_is_cut_anywhere_is_refused(length: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.raises(WeightsError, match=r"model\.safetensors"):
        elements_of(written(Path(folder), WHOLE[:length]))


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda text: len(text).to_bytes(8, "little") + text))
def test_no_bytes_do_worse_than_to_be_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            assert elements_of(written(Path(folder), data)) >= 0
        except WeightsError as error:
            assert "model.safetensors" in str(error)


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="git lfs pull"):
        elements_of(written(tmp_path, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "one.safetensors")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=r"two\.safetensors"):
        read_weights(tmp_path)
    save_file(TENSORS, tmp_path / "two.safetensors")
    assert read_weights(tmp_path).elements == 34


def test_pickles_are_seen_and_a_trainers_leftovers_are_not(tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin"):
        (tmp_path / name).touch()
    assert read_weights(tmp_path).pickles == ("pytorch_model.bin",)

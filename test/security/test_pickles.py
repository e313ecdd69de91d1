# SPDX-License-Identifier: Apache-2.0
"""A folder of weights is data: what could run code while it is read is never opened."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.loading import EngineSettings, load_engine


class Opened:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._mark,)


def test_weights_that_are_a_pickle_are_refused_unread(tiny_model: Path, tmp_path: Path) -> None:
    model, mark = shutil.copytree(tiny_model, tmp_path / "model"), tmp_path / "opened"
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Opened(mark)))
    with pytest.raises(EngineError, match="safetensors"):
        load_engine(EngineSettings(str(model)))
    assert not mark.exists()

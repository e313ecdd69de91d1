# SPDX-License-Identifier: Apache-2.0
"""A model on its way up: what is told, what is watched, and what is said where memory does not suffice."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.loading import load_engine
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.nodes import edge_parameters
from edgevlm_ros.nodes.edge_parameters import PARAMETERS
from edgevlm_ros.nodes.warm_model import warm_model, warm_up
from edgevlm_ros.nodes.watchdog import Pulse
from support.tiny_svlm import make_tiny_svlm


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    model = make_tiny_svlm(tmp_path_factory.mktemp("model"))
    return {parameter.name: parameter.default for parameter in PARAMETERS} | {"model": str(model), "device": "cpu"}


def test_people_are_told_of_every_step_and_the_first_answer_is_watched(values: dict[str, Any]) -> None:
    told: list[str] = []
    watched: list[tuple[Pulse, float]] = []
    engine = warm_model(values, lambda pulse, factor: watched.append((pulse, factor)), told.append)
    model = values["model"]
    assert told[0] == f"loading {model}"
    assert f"{engine.name} is loaded, and answers one frame to warm up" in told
    assert told[-1].startswith(f"{model} is ready after ")
    ((pulse, factor),) = watched
    assert factor > 1.0
    assert pulse.thread == threading.get_ident()


def test_a_model_that_cannot_be_loaded_is_not_said_to_be_ready(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    told: list[str] = []
    with pytest.raises(EngineError):
        warm_model(values | {"model": str(tmp_path)}, lambda pulse, factor: None, told.append)
    assert told == [f"loading {tmp_path}"]


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (MemoryError("no room"), EngineError, r"out of memory when answering the first frame \(no room\): .*"),
        (ValueError("not of memory"), ValueError, "not of memory"),
    ],
)
def test_a_lack_of_memory_is_told_with_what_to_do_and_all_else_as_it_is(
    values: dict[str, Any], error: Exception, kind: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    engine = load_engine(edge_parameters.engine_settings(values))
    monkeypatch.setattr(TransformersEngine, "complete", fails)
    with pytest.raises(kind, match=said):
        warm_up(engine)

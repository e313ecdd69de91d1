# SPDX-License-Identifier: Apache-2.0
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from edgevlm_ros.assets import AssetError
from edgevlm_ros.cloud.client import CloudClient, CloudResult
from edgevlm_ros.cloud.eyes import Eyes
from edgevlm_ros.cloud.features import to_bytes
from edgevlm_ros.cloud.jpeg import Upload, encode
from edgevlm_ros.cloud.prompt import chat_request
from edgevlm_ros.cloud.server import LvlmServer, ServerError
from edgevlm_ros.transfer.types import Status
from support.hub_cache import put, use_cache
from support.scripted_cloud import ScriptedCloud
from support.tiny_lvlm import make_tiny_lvlm

pytestmark = pytest.mark.timeout(300)
GRAY = encode(np.full((480, 640, 3), 128, np.uint8), max_side=640, quality=85)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_lvlm(tmp_path_factory.mktemp("models") / "tiny_lvlm")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[LvlmServer]:
    with LvlmServer(str(folder)) as server:
        yield server


def ask(server: LvlmServer, upload: Upload = GRAY) -> tuple[CloudResult, bool | None]:
    async def conversation() -> tuple[CloudResult, bool | None]:
        client = CloudClient(server.base_url)
        result = await client.ask(upload, "Where is the person?")
        sees = await client.sees_images(result, upload, "Where is the person?")
        await client.aclose()
        return result, sees

    return asyncio.run(conversation())


def gone(pid: int, within: float = 90.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_llava_folder_answers_about_a_picture_and_grounds(server: LvlmServer) -> None:
    result, sees = ask(server)
    assert (result.status, result.text, result.error) == (Status.OK, "left", "")
    box = result.regions[0]
    assert (box.label, box.x0, box.y0, box.x1, box.y1) == ("person", 0.0, 120.0, 320.0, 480.0)
    assert sees is True
    assert result.completion_tokens > 0


def features(model: Path | str, keep: float = 1.0, revision: str = "main") -> Upload:
    eyes = Eyes(str(model), keep, revision=revision)
    seen = to_bytes(eyes.see(np.full((480, 640, 3), 128, np.uint8)))
    eyes.close()
    return Upload(b"", 640, 480, 640, 480, features=seen)


@pytest.mark.parametrize("keep", [1.0, 0.25])
def test_features_in_place_of_a_picture_are_answered_like_one(server: LvlmServer, folder: Path, keep: float) -> None:
    whole, (result, sees) = ask(server)[0], ask(server, features(folder, keep))
    assert (result.status, result.text, result.regions) == (Status.OK, whole.text, whole.regions)
    assert (result.model, result.completion_tokens, sees) == (whole.model, whole.completion_tokens - 1, True)
    assert whole.prompt_tokens - result.prompt_tokens == round(16 * (1 - keep))


def _other_eyes(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors |= {name: value + 1 for name, value in tensors.items() if "projector" in name}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_features_of_other_eyes_are_rejected_with_what_to_do(server: LvlmServer, tmp_path: Path) -> None:
    folder = make_tiny_lvlm(tmp_path / "other")
    _other_eyes(folder)
    result, _ = ask(server, features(folder))
    assert result.status is Status.REJECTED
    assert "robot and server need the same model" in result.error
    assert "set upload to image" in result.error


def test_eyes_and_server_can_be_pinned_to_the_same_commit_of_a_hub_id(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_tiny_lvlm(tmp_path / "other")
    _other_eyes(other)
    put(tmp_path / "hub", "org/tiny_lvlm", folder, "1" * 40)
    put(tmp_path / "hub", "org/tiny_lvlm", other, "2" * 40, branch="main")
    use_cache(tmp_path / "hub", monkeypatch)
    with LvlmServer("org/tiny_lvlm", revision="1" * 40) as server:
        same, newest = (ask(server, features("org/tiny_lvlm", revision=each))[0] for each in ("1" * 40, "main"))
    assert (same.status, same.text, same.model) == (Status.OK, "left", "tiny_lvlm@main")
    assert newest.status is Status.REJECTED


def test_a_commit_that_is_not_here_is_told_with_how_to_fetch_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "hub", "org/tiny_lvlm", folder, "1" * 40)
    use_cache(tmp_path / "hub", monkeypatch)
    with pytest.raises(ServerError, match=f"hf download org/tiny_lvlm --revision {'2' * 40}"):
        LvlmServer("org/tiny_lvlm", revision="2" * 40).start()


def test_the_models_name_in_replies_is_no_path_of_this_machine(server: LvlmServer, folder: Path) -> None:
    model = ask(server)[0].model
    assert model.startswith(folder.name)
    assert "/" not in model


def test_it_streams_and_counts_tokens_as_the_api_says(server: LvlmServer) -> None:
    request = chat_request(system="", question="?", jpeg=GRAY.jpeg) | {"stream": True}
    words, usage = [], None
    with httpx.stream("POST", f"{server.base_url}/chat/completions", json=request, timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                words.append(chunk["choices"][0]["delta"].get("content", ""))
                usage = chunk.get("usage", usage)
    assert json.loads("".join(words))["answer"] == "left"
    assert usage["prompt_tokens"] > 16


@pytest.mark.parametrize(("method", "path"), [("POST", "/load_model"), ("POST", "/reset"), ("GET", "/docs")])
def test_nothing_but_what_the_bridge_needs_can_be_reached(server: LvlmServer, method: str, path: str) -> None:
    response = httpx.request(method, server.base_url.removesuffix("/v1") + path, json={"model": "any"}, timeout=60)
    assert response.status_code == 404
    assert server.running


def test_a_server_that_was_started_without_its_guard_is_not_counted_as_ready(folder: Path) -> None:
    with (
        ScriptedCloud() as bare,
        httpx.Client(base_url=bare.base_url.removesuffix("/v1")) as http,
        pytest.raises(ServerError, match="without its guard: the installed transformers"),
    ):
        LvlmServer(str(folder))._check_guarded(http)


def test_a_file_of_the_servers_machine_cannot_be_looked_at(server: LvlmServer, tmp_path: Path) -> None:
    (tmp_path / "private.jpg").write_bytes(GRAY.jpeg)
    request = chat_request(system="", question="?", jpeg=GRAY.jpeg)
    for url in (str(tmp_path / "private.jpg"), f"file://{tmp_path}/private.jpg", f"{server.base_url}/models"):
        request["messages"][1]["content"][0]["image_url"]["url"] = url
        response = httpx.post(f"{server.base_url}/chat/completions", json=request, timeout=60)
        assert response.status_code == 400
        assert "data URL" in response.json()["error"]["message"]


def test_other_machines_are_let_in_with_a_key_only(folder: Path) -> None:
    with pytest.raises(ServerError, match="name a key"):
        LvlmServer(str(folder), host="0.0.0.0")
    with LvlmServer(str(folder), host="0.0.0.0", api_key="sk-canary") as server:
        models = f"{server.base_url}/models"
        assert httpx.get(models, timeout=60).status_code == 401
        assert httpx.get(models, headers={"Authorization": "Bearer sk-canar"}, timeout=60).status_code == 401
        assert httpx.get(models, headers={"Authorization": "Bearer sk-canary"}, timeout=60).status_code == 200
        assert "sk-canary" not in server.log_tail()


def test_a_killed_server_comes_back_on_the_same_port(folder: Path) -> None:
    server = LvlmServer(str(folder))
    try:
        server.start()
        port, pid = server.port, server.pid
        server.kill()
        assert gone(pid)
        assert not server.running
        server.start()
        server.wait_ready()
        assert server.port == port
        assert ask(server)[0].text == "left"
    finally:
        server.stop()
    assert not server.running
    server.stop()


def test_a_folder_that_is_no_model_ends_with_the_end_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    log = tmp_path / "named.log"
    server = LvlmServer(str(tmp_path), log=log)
    server.start()
    with pytest.raises(ServerError, match="ended while it started") as caught:
        server.wait_ready()
    assert len(str(caught.value).splitlines()) > 3
    assert str(caught.value).splitlines()[-1] in log.read_text()
    server.stop()


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(AssetError, match="no_such_lvlm"):
        LvlmServer("no_such_lvlm")


def test_a_taken_port_is_named(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServerError, match=f"port {port} is taken"):
            LvlmServer(str(folder), port=port)


def test_it_ends_with_the_process_that_started_it(folder: Path) -> None:
    program = (
        "import os, sys; from edgevlm_ros.cloud.server import LvlmServer\n"
        "server = LvlmServer(sys.argv[1]); server.start(); print(server.pid, flush=True); os._exit(9)"
    )
    parent = subprocess.run(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True, timeout=200
    )
    assert gone(int(parent.stdout))

# SPDX-License-Identifier: Apache-2.0
"""A server whose certificate nobody vouches for gets no request: neither frames nor the key."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from edgevlm_ros.cloud.client import CloudClient, CloudResult
from edgevlm_ros.cloud.jpeg import encode
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.served import ServedEngine, ServedSettings
from edgevlm_ros.evaluation.judge import JudgeError, ModelJudge
from edgevlm_ros.transfer.types import Question, Status

GRAY = encode(np.full((48, 64, 3), 128, np.uint8), max_side=64, quality=80)


@dataclass
class Impostor:
    """An https server with a certificate of its own making. requests: what it was told."""

    base_url: str
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def impostor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Impostor]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed here: no certificate can be made")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    told: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.append(str(self.headers))
            self.send_error(500)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that hangs up is what is wanted

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("EDGEVLM_JUDGE_API_KEY", "sk-canary")
    yield Impostor(f"https://127.0.0.1:{server.server_address[1]}/v1", told)
    server.shutdown()
    server.server_close()


def test_the_bridge_tells_it_nothing(impostor: Impostor) -> None:
    async def conversation() -> CloudResult:
        client = CloudClient(impostor.base_url, model="m", api_key="sk-canary")
        result = await client.ask(GRAY, "Where?")
        await client.aclose()
        return result

    result = asyncio.run(conversation())
    assert result.status is Status.UNREACHABLE
    assert "certificate" in result.error.lower()
    assert impostor.requests == []


def test_the_edge_engine_tells_it_nothing(impostor: Impostor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_KEY", "sk-canary")
    with pytest.raises(EngineError, match=r"(?i)certificate"):
        ServedEngine(ServedSettings(impostor.base_url, api_key_env="EDGE_KEY"))
    assert impostor.requests == []


def test_the_judge_tells_it_nothing(impostor: Impostor) -> None:
    with ModelJudge(impostor.base_url, "wise") as judge, pytest.raises(JudgeError, match="is the server running"):
        judge.right(Question("Where?"), "here", "there")
    assert impostor.requests == []


@pytest.mark.parametrize(
    "open_way", [CloudClient, lambda url: ServedEngine(ServedSettings(url)), lambda url: ModelJudge(url, "m")]
)
def test_none_of_them_takes_http_to_another_machine_unasked(open_way) -> None:
    with pytest.raises((ValueError, EngineError), match=r"set allow_http to true|give --judge-allow-http"):
        open_way("http://192.0.2.1:8000/v1")

# SPDX-License-Identifier: Apache-2.0
"""A server that repeats the key in whatever it says is quoted without it, and without what commands a terminal.

Both clients, over real sockets: the bridge's, and the engine of a small model behind a server.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable

import numpy as np
import pytest

from edgevlm_ros.cloud.client import CloudClient, CloudResult
from edgevlm_ros.cloud.jpeg import encode
from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.served import ServedEngine, ServedSettings
from support.raw_cloud import Caller, RawCloud, http

KEY = "e0canary+0123/456789=abcdefghijklmnopqrstuvwxyz"
FORGED = f"\n[ERROR] \x1b[2J {KEY} \ud800"
PICTURE = np.full((48, 64, 3), 128, np.uint8)


def reply(**said: object) -> bytes:
    return http(json.dumps({"choices": [{"message": said, "finish_reason": "stop"}], "model": FORGED}).encode())


def stream(*events: object) -> bytes:
    return http("".join(f"data: {json.dumps(event)}\n\n" for event in events).encode())


def listing(*names: str) -> bytes:
    return http(json.dumps({"data": [{"id": name} for name in names]}).encode())


HEAD = b"HTTP/1.1 200 OK\r\n"
WAYS = {
    "a header that is none": HEAD + f"{KEY}\r\n\r\n".encode(),
    "a header's name": HEAD + f"{'x' * 120}{KEY} : 1\r\n\r\n".encode(),
    "the status line": f"HTTP/1.1 {KEY}\r\n\r\n".encode(),
    "the protocol": f"{KEY}\r\n\r\n".encode(),
    "the length": HEAD + f"Content-Length: {KEY}\r\n\r\n".encode(),
    "the transfer encoding": HEAD + f"Transfer-Encoding: {KEY}\r\n\r\n".encode(),
    "a chunk's size": HEAD + f"Transfer-Encoding: chunked\r\n\r\n{KEY}\r\n".encode(),
    "a redirect": http(b"", "307 Temporary Redirect", f"Location: http://{KEY}/{'x' * 170}{KEY}"),
    "a redirect to nowhere": http(b"", "307 Temporary Redirect", f"Location: http://[{'x' * 120}{KEY}"),
    "a pause": http(b"", "429 Too Many Requests", f"Retry-After: {'x' * 20}{KEY}"),
    "a refusal": http(f"{'x' * 140}{KEY}".encode(), "401 Unauthorized"),
    "half a refusal, then the key": http(b"\\u200b" * 1200 + KEY.encode(), "403 Forbidden"),
    "a login page": http(f"<html>{FORGED!a}</html>".encode()),
    "a list": http(json.dumps([FORGED]).encode()),
    "an error with HTTP 200": http(json.dumps({"error": {"code": 400, "message": FORGED}}).encode()),
    "an error's code": http(json.dumps({"error": {"code": FORGED, "type": KEY}}).encode()),
    "the names of models": listing(KEY, f"a {KEY}", "b"),
    "the name of the model": listing(KEY),
    "the answer": reply(content=f"left {FORGED}"),
    "the model's refusal": reply(content=None, refusal=FORGED),
    "its thoughts": reply(content=None, reasoning=FORGED),
    "its tool": reply(content=None, tool_calls=[{"function": {"arguments": FORGED}}]),
    "another shape": http(json.dumps({"choices": [FORGED]}).encode()),
    "a text that is none": reply(content={"text": FORGED}),
    "an event": stream({"choices": [{"delta": {"content": f"left {FORGED}"}, "finish_reason": "stop"}]}),
    "an error among events": stream({"error": FORGED}),
    "no event": http(f"data: {KEY}\n\n".encode()),
}


def bridge(base_url: str, model: str) -> tuple[str, ...]:
    async def conversation() -> CloudResult:
        client = CloudClient(base_url, model=model, api_key=KEY)
        try:
            return await client.ask(encode(PICTURE, max_side=64, quality=80), "Where?")
        finally:
            await client.aclose()

    result = asyncio.run(conversation())
    return result.error, result.text, result.model, result.note, *(region.label for region in result.regions)


def engine(base_url: str, model: str) -> tuple[str, ...]:
    told: list[str] = []
    try:
        served = ServedEngine(ServedSettings(base_url, model, api_key_env="REPEATED_KEY"))
        told += [served.name]
        # what it answers is data of its own, which the pipeline cleans; the key is gone by then
        said = served.complete(Prompt((), (PICTURE,), "Where?"), lambda words: said_so_far.append(words)).text
        assert KEY not in said
        assert KEY not in "".join(said_so_far)
    except EngineError as error:
        told += ["".join(traceback.format_exception(error)).split("EngineError: ")[-1].rstrip("\n")]
        assert KEY[:10] not in "".join(traceback.format_exception(error))
    return tuple(told)


said_so_far: list[str] = []


@pytest.mark.parametrize("ask", [bridge, engine])
@pytest.mark.parametrize("named", [True, False], ids=["asked for by name", "listed"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_a_server_says_is_quoted_without_the_key_and_on_one_line(
    way: bytes, named: bool, ask: Callable[[str, str], tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPEATED_KEY", KEY)
    said_so_far.clear()

    def serve(caller: Caller) -> None:
        listed = caller.request().startswith(b"GET")
        caller.say(http(b"", "404 Not Found") if listed and named else way)

    with RawCloud(serve) as server:
        words = ask(server.base_url, "m" if named else "")
    assert any(words)
    for text in words:
        assert KEY[:10] not in text
        assert text.isprintable()
        assert len(text) < 800

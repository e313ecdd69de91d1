# SPDX-License-Identifier: Apache-2.0
"""A server's whole response as the client takes it: a line of status, lines of headers, an empty line, the body."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache
from unittest import mock

import httpx
import numpy as np

from edgevlm_ros.cloud.client import CloudClient, CloudResult
from edgevlm_ros.cloud.jpeg import encode
from edgevlm_ros.cloud.reply import Reply
from edgevlm_ros.transfer.types import Status
from fuzz.targets.reply import harmless

KEY = "sk-canary+0/1=2"
WORDS = (
    b'{"choices": [{"message": {"content": "', b'"usage": {"prompt_tokens": ', b'"model": "', b"200\n\n", b"429\n",
    b"503\n", b"302\n", b"Retry-After: ", b"Location: ", b"Content-Length: ", b"Content-Encoding: gzip",
    b"Sun, 22 Nov 2026 21:00:00 GMT", KEY.encode(), b"\\u002b", b'{"type": "text", "text": "', b'{\\"answer\\": \\"',
    b'\\"regions\\": [', b'\\"bbox_2d\\": [', b"<|im_end|>", b"\\u200b", b"\x1f\x8b\x08\x00",
    b'{"error": {"code": ', b'"reasoning_content": "',
    b'"tool_calls": [{"function": {"arguments": "', b'"refusal": "', b'"finish_reason": "', b"</think>", b"422\n",
    b"max_completion_tokens", b"temperature", b"\\ue00e",
)  # fmt: skip
LONGEST = 4096
_CHARS = 200


class Body(httpx.AsyncByteStream):
    """A body that comes in pieces."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._data), 1000):
            yield self._data[at : at + 1000]


@cache
def client() -> tuple[CloudClient, asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    return CloudClient("http://127.0.0.1:9/v1", model="m", api_key=KEY, max_answer_chars=_CHARS), loop


UPLOAD = encode(np.full((48, 64, 3), 128, np.uint8), max_side=64, quality=50)


@contextmanager
def answering(data: bytes) -> Iterator[None]:
    """The network, replaced: whatever is asked, this comes back."""

    async def handle(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return response(data)

    with mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", handle):
        yield


def head_and_body(data: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    head, _, body = data.partition(b"\n\n")
    status, *lines = head.split(b"\n")
    pairs = [line.partition(b":") for line in lines]
    code = int(status) if status.isdigit() and len(status) == 3 and status[:1] in b"2345" else 200
    return code, [(name, value.strip()) for name, _, value in pairs if name], body


def response(data: bytes) -> httpx.Response:
    code, headers, body = head_and_body(data)
    return httpx.Response(code, headers=headers, stream=Body(body))


def check(data: bytes) -> None:
    asked, loop = client()
    told = response(data)
    with answering(data):
        result = loop.run_until_complete(asked.ask(UPLOAD, "Where?"))
    bounded(result)
    if told.status_code != 200:
        nowhere = told.status_code < 400 and result.status is Status.UNREACHABLE  # httpx cannot read its Location
        assert nowhere or result.status is Status.REJECTED
    else:
        assert result.status in (Status.OK, Status.UNPARSABLE, Status.REJECTED)


def bounded(result: CloudResult) -> None:
    """What any result keeps to, so that it fits into a message and tells no key."""
    assert (result.status is Status.OK) == (not result.error)
    assert len(result.error) < 600
    assert result.error.isprintable()
    assert len(result.model) <= 100
    assert result.model.isprintable()
    assert 0 <= result.prompt_tokens < 2**32
    assert 0 <= result.completion_tokens < 2**32
    assert math.isfinite(result.retry_after)
    assert result.retry_after >= 0
    if result.status is Status.OK:
        harmless(Reply(result.text, result.regions, result.regions_dropped), 64, 48, _CHARS)
    else:
        assert not result.text
        assert not result.regions
    said = (result.error, result.text, result.model, result.note, *(region.label for region in result.regions))
    assert not any(KEY in words for words in said), "a key goes no further than the client"

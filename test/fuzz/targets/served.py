# SPDX-License-Identifier: Apache-2.0
"""The response of a small model's server: a line of status, lines of headers, an empty line, the body."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import cache
from unittest import mock

import httpx
import numpy as np

from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.served import ServedEngine, ServedSettings
from fuzz.targets.cloud_client import KEY, head_and_body

WORDS = (
    b"302\n", b"Location: ", b"error: ",
    b"200\n\n", b"429\n", b"422\n", b"Retry-After: ", b"Content-Encoding: gzip", b"\x1f\x8b\x08\x00",
    b'data: {"choices": [{"delta": {"content": "', b'"}, "finish_reason": "stop"}]}\n\n', b"data: [DONE]\n\n",
    b'"logprobs": {"content": [{"logprob": -', b'"usage": {"prompt_tokens": ', b'"reasoning": "', b'"tool_calls": [{',
    b'"refusal": "', b'"message": {"content": "', b'{"error": {"code": ', b"<think>", b"</think>",
    b"<|channel|>analysis", b"max_tokens", b"temperature", b"\\ud800", b"\\u200b", KEY.encode(),
)  # fmt: skip
LONGEST = 4096
_TOKENS = 4
_PROMPT = Prompt((), (np.full((8, 8, 3), 128, np.uint8),), "Where?")


class Body(httpx.SyncByteStream):
    """A body that comes in pieces."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self._data), 100):
            yield self._data[at : at + 100]


@contextmanager
def answering(data: bytes) -> Iterator[None]:
    """The network, replaced: whatever is asked, this comes back."""
    code, headers, body = head_and_body(data)

    def handle(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        return httpx.Response(code, headers=headers, stream=Body(body))

    with mock.patch.object(httpx.HTTPTransport, "handle_request", handle):
        yield


@cache
def engine() -> ServedEngine:
    with mock.patch.dict("os.environ", FUZZ_KEY=KEY), answering(b"404\n\n"):
        return ServedEngine(ServedSettings("http://127.0.0.1:9/v1", api_key_env="FUZZ_KEY", max_new_tokens=_TOKENS))


def check(data: bytes) -> None:
    told: list[str] = []
    fresh = copy(engine())  # it remembers what is refused, and for how long it is to wait
    try:
        with answering(data):
            completion = fresh.complete(_PROMPT, told.append)
    except EngineError as error:
        said = str(error)
        assert said.isprintable()
        assert len(said) < 800
    else:
        said = completion.text
        assert len(said) <= 64 * _TOKENS
        assert math.isnan(completion.confidence) or 0.0 <= completion.confidence <= 1.0
        assert 0 <= completion.prompt_tokens < 2**32
        assert 0 <= completion.reused_tokens < 2**32
    assert KEY not in said, "a key goes no further than the engine"
    assert KEY not in "".join(told)

# SPDX-License-Identifier: Apache-2.0
"""An SVLM behind a local OpenAI-compatible server: llama.cpp's, vLLM, SGLang, TensorRT Edge-LLM, `edgevlm serve`.

Such a server runs models and chips that transformers does not. It takes images and words and nothing else, so only the
focus modes that need nothing from the model are left. It caches prefixes itself, if at all: the history stands before
the images and changes only with the context, so that there is something to cache. Servers differ in what they accept
and in how they fail; all that is raised is EngineError, and the next frame is asked as if nothing had happened.
"""

import base64
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.edge.engine import Capabilities, Completion, EngineError, OnToken, Prompt, Stop
from edgevlm_ros.edge.streamed_answer import StreamedAnswer, WordByWord, events
from edgevlm_ros.endpoint import EndpointError, check_base_url, is_loopback, load_api_key, redacted
from edgevlm_ros.images import to_jpeg
from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.transfer.types import Image, Timings
from edgevlm_ros.words import clean_text, plain

MAX_BODY = 1 << 24
"""Bytes of a response that are read: asked for probabilities, some servers send kilobytes with each token."""
_CELL = 28
_MAX_CELLS = 32
_OPTIONS: dict[str, Any] = {"logprobs": True, "stream_options": {"include_usage": True}, "cache_prompt": True}
"""Fields that only some servers know and some refuse. cache_prompt is llama.cpp's: the prompt's beginning is kept."""


@dataclass(frozen=True, slots=True)
class ServedSettings:
    """Where the server is and how to ask it.

    url: usually ends in /v1. model: its name at the server; empty takes the only one there is. api_key_env,
    api_key_file: see endpoint.load_api_key. system_prompt: told before the history, if not empty. timeout: seconds for
    a whole answer, and for a silence within it; connecting alone may take half of it. allow_http: see
    endpoint.check_base_url.
    """

    url: str
    model: str = ""
    api_key_env: str = ""
    api_key_file: str = ""
    system_prompt: str = ""
    max_new_tokens: int = 32
    timeout: float = 10.0
    allow_http: bool = False


class ServedEngine:
    """A server that is there and has the model; see edge.engine.Engine. Raises EngineError if it is not.

    There is nothing to prepare and no patch features to see. Prompt.focus, beta and keep are for engines that declare
    the modes which need them. Timings: the server's time until the first token, vision and transfer included, is
    prefill.
    """

    def __init__(self, settings: ServedSettings) -> None:
        try:
            url = check_base_url(settings.url, "server_url", allow_http=settings.allow_http)
            self._key = load_api_key(settings.api_key_env, settings.api_key_file)
        except EndpointError as error:
            raise EngineError(str(error)) from error
        self._settings = settings
        self._url = str(url)
        self._refused: frozenset[str] = frozenset()
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(settings.timeout, connect=settings.timeout / 2),
            limits=httpx.Limits(max_keepalive_connections=0),  # a new one costs 0.3 ms on loopback and is never dead
            trust_env=not is_loopback(url.host),  # a proxy of the environment is no way to this machine
        )
        self._model = self._choose_model()

    @property
    def name(self) -> str:
        return Path(self._model).name or f"the model at {self._url}"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(frozenset({"crop", "overlay", "text"}), resolution=True)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Of cells of 28 pixels, at most 32 in a row: the server's visual tokens are unknown, people see the map."""
        cell = max(_CELL, max(width, height) / _MAX_CELLS)
        return max(1, round(height / cell)), max(1, round(width / cell))

    def count_tokens(self, text: str) -> int:
        """An estimate, a token for 3 bytes: more than tokenizers need for most scripts, and the API has none."""
        return math.ceil(len(text.encode("utf-8", errors="replace")) / 3)

    def see(self, image: Image) -> NDArray[np.float32] | None:
        return None

    def prepare(self, history: Sequence[Exchange]) -> None:
        pass

    def complete(self, prompt: Prompt, on_token: OnToken | None = None, stop: Stop | None = None) -> Completion:
        start = time.monotonic()
        deadline = start + self._settings.timeout
        request = self._request(prompt)
        prepared = time.monotonic()
        first = None
        answer, told = StreamedAnswer(), WordByWord(self._key)
        with self._explained(), self._opened(request, deadline) as response:
            for event in events(self._chunks(response, deadline)):
                if event == "[DONE]":
                    break
                piece = answer.add(self._chunk(event))
                if piece and first is None:
                    first = time.monotonic()
                if on_token is not None and (words := told.add(piece)):
                    on_token(words)
                if stop is not None and stop():
                    break
            else:
                if not answer.finished:
                    raise EngineError(f"{self._url} ended its stream before the answer was whole: see the server's log")
        if answer.only_thoughts:
            raise EngineError(
                f"{self.name} gave nothing but reasoning within max_new_tokens = {self._settings.max_new_tokens}: "
                "start its server with reasoning switched off"
            )
        if on_token is not None and (words := told.rest()):
            on_token(words)
        end = time.monotonic()
        first = end if first is None else first
        return Completion(
            text=redacted(answer.text, self._key),
            confidence=answer.confidence,
            first_token_time=first - start,
            timings=Timings(prepare=prepared - start, prefill=first - prepared, decode=end - first),
            prompt_tokens=answer.prompt_tokens,
            reused_tokens=answer.reused_tokens,
        )

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        messages: list[dict[str, Any]] = []
        if self._settings.system_prompt:
            messages.append({"role": "system", "content": self._settings.system_prompt})
        for exchange in prompt.history:
            messages.append({"role": "user", "content": plain(exchange.asked)})
            messages.append({"role": "assistant", "content": plain(exchange.said)})
        views = [{"type": "image_url", "image_url": {"url": _data_url(v, prompt.pixel_share)}} for v in prompt.images]
        messages.append({"role": "user", "content": [*views, {"type": "text", "text": plain(prompt.question)}]})
        request = {
            "messages": messages,
            "max_tokens": self._settings.max_new_tokens,
            "temperature": 0,
            "stream": True,
        }
        return request | ({"model": self._model} if self._model else {})

    def _choose_model(self) -> str:
        """The name to ask for; empty leaves the choice to a server that lists no models."""
        listed = self._listed_models()
        wanted = self._settings.model
        names = ", ".join(clean_text(name, 100) for name in listed[:20])
        if wanted and listed and wanted not in listed:
            raise EngineError(f"{self._url} has no model {wanted!r}: set model to one of {names}")
        if not wanted and len(listed) > 1:
            raise EngineError(f"{self._url} has several models: set model to one of {names}")
        return wanted or (listed[0] if listed else "")

    def _listed_models(self) -> tuple[str, ...]:
        deadline = time.monotonic() + self._settings.timeout
        with self._explained(), self._http.stream("GET", "models") as response:
            if response.status_code == 404:
                return ()
            if response.status_code != 200:
                raise EngineError(self._rejection(response, deadline))
            body = b"".join(self._chunks(response, deadline))
        listing = self._object(body.decode("utf-8", errors="replace"))
        data = listing.get("data")
        names = (model.get("id") for model in data if isinstance(model, dict)) if isinstance(data, list) else ()
        return tuple(name for name in names if isinstance(name, str) and name)

    @contextmanager
    def _opened(self, request: dict[str, Any], deadline: float) -> Iterator[httpx.Response]:
        """The streamed response, asked for without the options that the server is found to refuse."""
        refused = self._refused
        while True:
            options = {name: value for name, value in _OPTIONS.items() if name not in refused}
            with self._http.stream("POST", "chat/completions", json=request | options) as response:
                if response.status_code == 200:
                    self._refused = refused
                    yield response
                    return
                rejection = self._rejection(response, deadline)
                if response.status_code not in (400, 422) or not options:
                    raise EngineError(rejection)
                refused |= frozenset(name for name in options if name in rejection) or frozenset(options)

    def _rejection(self, response: httpx.Response, deadline: float) -> str:
        said = self._quoted(b"".join(self._chunks(response, deadline)).decode("utf-8", errors="replace"))
        hint = _hint(response.status_code, self._quoted(response.headers.get("location", "")))
        return f"{self._url} answers HTTP {response.status_code}{f': {said}' if said else ''} ({hint})"

    def _chunks(self, response: httpx.Response, deadline: float) -> Iterator[bytes]:
        """The body as it comes. httpx bounds only the time between two pieces."""
        size = 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > MAX_BODY:
                raise EngineError(f"{self._url} sends more than {MAX_BODY} bytes: is it an OpenAI-compatible server?")
            if time.monotonic() > deadline:
                raise EngineError(self._too_slow())
            yield chunk

    def _chunk(self, event: str) -> dict[str, Any]:
        """One chunk of the answer; EngineError if the server could not go on."""
        chunk = self._object(event)
        if chunk.get("error"):
            said = self._quoted(str(chunk["error"]))
            raise EngineError(f"{self._url} failed in the middle of the answer: {said} (see the server's log)")
        return chunk

    def _object(self, text: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise EngineError(
                f"{self._url} sent {self._quoted(text)!r} where a JSON object belongs: is it an OpenAI-compatible "
                "server, and does server_url end in /v1?"
            )
        return value

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What httpx raises, as an EngineError that says what to do."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise EngineError(
                f"no server answers at {self._url} ({_reason(error)}): start it, or set server_url to where it is"
            ) from error
        except httpx.TimeoutException as error:
            raise EngineError(self._too_slow()) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # the latter of a Location that is no address
            raise EngineError(f"{self._url} broke the connection ({_reason(error)}): see the server's log") from error

    def _too_slow(self) -> str:
        return (
            f"{self._url} gave no whole answer within timeout = {self._settings.timeout:g} s: "
            "raise it, lower max_new_tokens, or see what else keeps the server busy"
        )

    def _quoted(self, text: str) -> str:
        """The beginning of what the server said. It may repeat the key that it did not like, which goes no further."""
        return clean_text(redacted(text, self._key)[:1000], 200)


def _data_url(image: Image, share: float) -> str:
    """The image as a JPEG, with this share of its pixels."""
    height, width = image.shape[:2]
    scale = math.sqrt(min(share, 1.0))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != (width, height):
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return "data:image/jpeg;base64," + base64.b64encode(to_jpeg(image)).decode("ascii")


def _hint(code: int, location: str) -> str:
    if code in (401, 403):
        return "check the key that api_key_env or api_key_file names"
    if code in (400, 413, 422):
        return "does the model take as many images, and does the prompt fit its context?"
    if 300 <= code < 400:
        return f"set server_url to where it points: {location}"
    if code in (429, 503):
        return "it is busy or still loads its model: try again later"
    if code >= 500:
        return "the server failed: see its log"
    return "check server_url, which usually ends in /v1, and model"


def _reason(error: Exception) -> str:
    return clean_text(str(error), 160) or type(error).__name__

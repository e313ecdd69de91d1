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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.cloud.body import BodyText
from edgevlm_ros.cloud.breaker import LONGEST_PAUSE
from edgevlm_ros.cloud.completion import model_ids, raise_error, read_json
from edgevlm_ros.cloud.failures import NoAnswer, Rejected, Server, Unparsable
from edgevlm_ros.cloud.refusals import named_by, without
from edgevlm_ros.edge.engine import Capabilities, Completion, EngineError, OnToken, Prompt, Stop
from edgevlm_ros.edge.streamed_answer import StreamedAnswer, WordByWord, events
from edgevlm_ros.endpoint import EndpointError, check_base_url, is_loopback, load_api_key
from edgevlm_ros.images import to_jpeg
from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.transfer.types import Image, Timings
from edgevlm_ros.words import plain

MAX_BODY = 1 << 24
"""Bytes of a response that are read: asked for probabilities, some servers send kilobytes with each token."""
_CELL = 28
_MAX_CELLS = 32
_MOST_CHARS = 64
"""Of an answer, for each token that it may have: a server that sends more does not keep to that."""
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
            key = load_api_key(settings.api_key_env, settings.api_key_file)
        except EndpointError as error:
            raise EngineError(str(error)) from error
        self._settings = settings
        self._url = str(url)
        self._server = Server(
            key,
            "server_url",
            refused="does the model take as many images, and does the prompt fit its context?",
            too_large="does the model take as many images, and does the prompt fit its context?",
            too_many="see who else asks this server",
            thinking="start its server with reasoning switched off (llama.cpp: --reasoning-budget 0; "
            "vLLM: --default-chat-template-kwargs '{\"enable_thinking\": false}')",
        )
        self._refused_fields: frozenset[str] = frozenset()
        self._paused_until = -math.inf  # seconds on the steady clock
        self._begins_thinking = False
        self._http = httpx.Client(
            base_url=url,
            headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=httpx.Timeout(settings.timeout, connect=settings.timeout / 2),
            limits=httpx.Limits(max_keepalive_connections=0),  # a new one costs 0.3 ms on loopback and is never dead
            trust_env=not is_loopback(url.host),  # a proxy of the environment is no way to this machine
        )
        self._model = self._choose_model()

    @property
    def name(self) -> str:
        return self._server.quoted(Path(self._model).name, 100) or f"the model at {self._url}"

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
        if (pause := self._paused_until - start) > 0.0:
            raise EngineError(f"{self._url} asked for a pause, {pause:.1f} s of it are left")
        deadline = start + self._settings.timeout
        request = self._request(prompt)
        prepared = time.monotonic()
        first = None
        most_chars = _MOST_CHARS * self._settings.max_new_tokens
        answer, told = StreamedAnswer(self._server, most_chars, self._begins_thinking), WordByWord(self._server.key)
        with self._explained(), self._opened(request, deadline) as response:
            for event in events(self._texts(response, deadline)):
                if event == "[DONE]":
                    text = answer.whole()
                    break
                chunk = read_json(event, self._server)
                raise_error(chunk, self._server, response.headers.get("retry-after", ""))
                words = told.add(answer.add(chunk))
                if answer.began and first is None:
                    first = time.monotonic()
                if on_token is not None and words:
                    on_token(words)
                if stop is not None and stop():
                    text = answer.so_far
                    break
            else:
                if answer.message.broke_off:
                    raise EngineError(f"{self._url} ended its stream before the answer was whole: see the server's log")
                text = answer.whole()
        self._begins_thinking = answer.begins_thinking
        if on_token is not None and (words := told.add(answer.rest()) + told.rest()):
            on_token(words)
        end = time.monotonic()
        first = end if first is None else first
        return Completion(
            text=self._server.redacted(text),
            confidence=answer.confidence,
            first_token_time=first - start,
            timings=Timings(prepare=prepared - start, prefill=first - prepared, decode=end - first),
            prompt_tokens=answer.message.prompt_tokens,
            reused_tokens=answer.message.cached_tokens,
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
        names = self._server.quoted(", ".join(listed[:20]), 400)
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
                raise self._rejection(response, deadline)
            listing = read_json("".join(self._texts(response, deadline)), self._server)
            raise_error(listing, self._server)
        return model_ids(listing)

    @contextmanager
    def _opened(self, request: dict[str, Any], deadline: float) -> Iterator[httpx.Response]:
        """The streamed response, asked for without the fields that the server is found to refuse."""
        refused_fields = self._refused_fields
        while True:
            asked = without(refused_fields, request | _OPTIONS)
            body, headers = json.dumps(asked).encode(), {"Content-Type": "application/json"}
            with self._http.stream("POST", "chat/completions", content=body, headers=headers) as response:
                if response.status_code == 200:
                    self._refused_fields = refused_fields
                    yield response
                    return
                error = self._rejection(response, deadline)
            named = named_by(error, asked)
            if not named and error.code in (400, 422):  # it may mean any of those that few servers know
                named = frozenset(_OPTIONS.keys() & asked.keys())
            if not named:
                raise error
            refused_fields |= named

    def _rejection(self, response: httpx.Response, deadline: float) -> Rejected:
        text = ""
        with suppress(Unparsable):  # the status says enough
            text = "".join(self._texts(response, deadline))
        retry_after, location = (response.headers.get(name, "") for name in ("retry-after", "location"))
        return Rejected(self._server, response.status_code, text, retry_after, location)

    def _texts(self, response: httpx.Response, deadline: float) -> Iterator[str]:
        """The body as it comes. httpx bounds only the time between two pieces."""
        body = BodyText(MAX_BODY)
        for chunk in response.iter_raw():
            yield body.add(chunk)
            if time.monotonic() > deadline:
                raise EngineError(self._too_slow())
        yield body.add(b"", last=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What the server and httpx fail with, as an EngineError that says what to do.

        It has no cause: that may hold the key.
        """
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            reason = self._server.reason(error)
            raise EngineError(
                f"no server answers at {self._url} ({reason}): start it, or set server_url to where it is"
            ) from None
        except httpx.TimeoutException:
            raise EngineError(self._too_slow()) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # the latter of a Location that is no address
            reason = self._server.reason(error)
            raise EngineError(f"{self._url} broke the connection ({reason}): see the server's log") from None
        except Rejected as error:
            if error.retry_after:
                self._paused_until = time.monotonic() + min(error.retry_after, LONGEST_PAUSE)
            raise EngineError(f"{self._url}: {error}") from None
        except Unparsable as error:
            hint = "is it an OpenAI-compatible server, and does server_url end in /v1?"
            raise EngineError(f"{self._url}: {error}; {hint}") from None
        except NoAnswer as error:
            raise EngineError(f"{self.name} gave no answer: {error}") from None

    def _too_slow(self) -> str:
        return (
            f"{self._url} gave no whole answer within server_timeout = {self._settings.timeout:g} s: "
            "raise it, lower max_new_tokens, or see what else keeps the server busy"
        )


def _data_url(image: Image, share: float) -> str:
    """The image as a JPEG, with this share of its pixels."""
    height, width = image.shape[:2]
    scale = math.sqrt(min(share, 1.0))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != (width, height):
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return "data:image/jpeg;base64," + base64.b64encode(to_jpeg(image)).decode("ascii")

# SPDX-License-Identifier: Apache-2.0
"""Who may ask the embedded server, and what: the door in front of `transformers serve`.

Behind it stands a development server that loads any model by name, opens any file and address that an image names, and
reads bodies of any size. The bridge needs three of its routes, images or features that stand in the request, and no
more.
"""

import asyncio
import base64
import binascii
import hmac
import io
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from PIL import Image as PilImage

from edgevlm_ros.cloud.features import FeaturesError
from edgevlm_ros.cloud.image_embeds import KIND, read_part

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

ROUTES = frozenset({("GET", "/health"), ("GET", "/v1/models"), ("POST", "/v1/chat/completions")})
MAX_BODY = 16 << 20
"""Bytes: several JPEGs of 4096 x 4096 pixels."""
MAX_PIXELS = 1 << 24
MAX_IMAGES = 8
MAX_TOKENS = 4096
_BODY_S = 30.0
_FORMATS = {"JPEG", "PNG"}


class Refused(Exception):
    """A request that goes no further. status: of HTTP; the message is for who asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """ASGI middleware. key: what "Authorization: Bearer" must say; empty lets everybody in."""

    def __init__(self, app: App, key: str = "") -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        try:
            body = await self._admitted(scope, receive)
        except Refused as refused:
            return await _refuse(send, refused)
        return await self._app(scope, _replayed(body, receive), send)

    async def _admitted(self, scope: Message, receive: Receive) -> bytes:
        """The body to pass on; raises Refused."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self._key and not hmac.compare_digest(headers.get(b"authorization", b""), b"Bearer " + self._key):
            raise Refused(401, "the key is missing or wrong")
        if (scope["method"], scope["path"]) not in ROUTES:
            raise Refused(404, "there is nothing here but /health, /v1/models and /v1/chat/completions")
        if scope["method"] == "GET":
            return b""
        if int(length if (length := headers.get(b"content-length", b"0")).isdigit() else 0) > MAX_BODY:
            raise Refused(413, f"a request may have {MAX_BODY} bytes")
        try:
            body = await asyncio.wait_for(_read(receive), _BODY_S)
        except asyncio.TimeoutError:
            raise Refused(408, f"the request did not come within {_BODY_S:g} s") from None
        return json.dumps(checked(body)).encode()  # as it was read here: two parsers may differ


def checked(body: bytes) -> dict[str, Any]:
    """A chat request that the server can bear; raises Refused."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the request is no JSON") from None
    if not isinstance(request, dict) or not isinstance(request.get("messages"), list):
        raise Refused(400, "the request has no list of messages")
    for name in ("max_completion_tokens", "max_tokens"):
        tokens = request.get(name)
        if tokens is not None and not (type(tokens) is int and 0 < tokens <= MAX_TOKENS):
            raise Refused(400, f"{name} takes 1 to {MAX_TOKENS}")
    images = 0
    for part in _parts(request["messages"]):
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            continue
        if part.get("type") not in ("image_url", KIND):
            raise Refused(400, f"a message holds text, image_url and {KIND}, and nothing else")
        images += 1
        if images > MAX_IMAGES:
            raise Refused(413, f"a request may have {MAX_IMAGES} images")
        if part["type"] == KIND:
            _check_features(part)
        else:
            _check_image(part.get("image_url"))
    return request


def _parts(messages: list[Any]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            continue
        if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
            raise Refused(400, "a message has no content")
        yield from content


def _check_image(image: Any) -> None:
    """Only what stands in the request itself, and only if it stays small when it is decoded."""
    url = image.get("url") if isinstance(image, dict) else image
    kind, comma, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not comma or not kind.startswith("data:image/") or not kind.endswith(";base64"):
        raise Refused(400, "an image is a data URL, such as data:image/jpeg;base64,...")
    try:
        with PilImage.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=tuple(_FORMATS)) as picture:
            width, height = picture.size
    except (binascii.Error, OSError, ValueError, SyntaxError, PilImage.DecompressionBombError):
        raise Refused(400, "an image cannot be read: JPEG and PNG are taken") from None
    if width * height > MAX_PIXELS:
        raise Refused(413, f"an image is {width}x{height}: more than {MAX_PIXELS} pixels")


def _check_features(part: dict[str, Any]) -> None:
    try:
        read_part(part)
    except FeaturesError as error:
        raise Refused(400, str(error)) from None


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Refused(400, "the request was broken off")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise Refused(413, f"a request may have {MAX_BODY} bytes")
        if not message.get("more_body"):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What has been read, once, and then what else comes: that the client hangs up ends the answer."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


async def _refuse(send: Send, refused: Refused) -> None:
    body = json.dumps({"error": {"message": str(refused), "type": "invalid_request_error"}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")]  # what was not read of the body must not be taken for a request
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

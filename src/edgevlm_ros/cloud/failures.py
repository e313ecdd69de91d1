# SPDX-License-Identifier: Apache-2.0
"""How a request to an OpenAI-compatible server can fail, in words that say where it hung and what to do about it.

The client of the cloud and that of a small model behind a server share them: one table of what a status means, and one
way for what a server says to get into a message.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from edgevlm_ros.endpoint import quoted, redacted

_PHASES = {
    "connection.connect_tcp.started": ("connecting", "is the network right?"),
    "http11.send_request_headers.started": ("uploading", "lower max_side or jpeg_quality, or raise timeout"),
    "http11.receive_response_headers.started": ("waiting for a reply to begin", "the server is busy or hangs"),
    "http11.receive_response_body.started": ("receiving the reply", "the server or the network is too slow"),
}
"""What a request does from an event of httpcore's trace on, and what to do if that takes too long."""


_FOR_EVER = 1e9
"""Seconds."""


class Trace:
    """How far a request has come, as httpcore's extension `trace` tells it."""

    def __init__(self) -> None:
        self._phase = next(iter(_PHASES.values()))

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self._phase = _PHASES.get(event, self._phase)

    @property
    def words(self) -> str:
        return f"it was still {self._phase[0]}; {self._phase[1]}"


@dataclass(frozen=True, slots=True)
class Server:
    """What a client's messages need to know of its server, so that they say what to do and tell nothing of the key.

    url_parameter: the name of the parameter that holds its address. refused, too_large, too_many, thinking: what people
    can do about a request that the server does not take, about one that is too large, about too many of them, and about
    a model that thinks.
    """

    key: str = field(repr=False)
    url_parameter: str
    refused: str
    too_large: str
    too_many: str
    thinking: str

    def redacted(self, text: str) -> str:
        """A server may repeat the key that it did not like; it goes no further than here."""
        return redacted(text, self.key)

    def quoted(self, text: str, max_chars: int = 160) -> str:
        """What the server says, as it stands in messages, logs and diagnostics."""
        return quoted(text, self.key, max_chars)

    def reason(self, error: Exception) -> str:
        """What a library says of an exchange with the server; it may quote from it."""
        return self.quoted(str(error)) or type(error).__name__


class Unparsable(Exception):
    """HTTP 200, but not what the API promises."""


class NoAnswer(Exception):
    """A whole reply in which the model does not answer."""


class Rejected(Exception):
    """An HTTP status that is not 200, or an error that stands in a reply with HTTP 200.

    text: the body, or the error's message. code: 0 if an error names none. whole: whether HTTP itself had that status.
    retry_after: seconds.
    """

    def __init__(
        self, server: Server, code: int, text: str, retry_after: str = "", location: str = "", whole: bool = True
    ) -> None:
        self.code = code
        self.text = text
        self.retry_after = _seconds(retry_after) if code in _BUSY else 0.0
        status = (
            f"HTTP {code}" if whole else f"error {code} in a reply with HTTP 200" if code else "an error in its reply"
        )
        quote = server.quoted(text)
        hint = _hint(server, code, text, server.quoted(retry_after, 40), server.quoted(location, 200))
        super().__init__(f"{status}{f': {quote}' if quote else ''} ({hint})")


_BUSY = (429, 503, 529)
"""Statuses whose Retry-After is kept to; 529 is that of an API that is overloaded."""


def _hint(server: Server, code: int, text: str, retry_after: str, location: str) -> str:
    if code in (401, 403):
        return "check the key that api_key_env or api_key_file names"
    if code == 402:
        return "the account that the key belongs to has to be paid for"
    if code == 413:
        return server.too_large
    if code == 429:
        return f"too many requests{f', retry after {retry_after}' if retry_after else ''}: {server.too_many}"
    if 300 <= code < 400:
        return f"set {server.url_parameter} to where it points: {location}"
    if code in (400, 422):
        return server.thinking if "temperature" in text or "reasoning" in text else server.refused
    if code in (503, 529):
        return "it is full, or still loads its model: try again later"
    if code >= 500 or not code:
        return "the server failed: see its log"
    return f"check {server.url_parameter}, which usually ends in /v1, and model"


def _seconds(retry_after: str) -> float:
    """What the header Retry-After asks for (RFC 9110, 10.2.3): seconds, with or without a fraction, or a date; 0 if
    neither."""
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", retry_after, re.ASCII):
        return min(float(retry_after), _FOR_EVER)
    try:
        until = parsedate_to_datetime(retry_after)
        return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0

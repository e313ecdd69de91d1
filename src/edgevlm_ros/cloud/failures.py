# SPDX-License-Identifier: Apache-2.0
"""How a request to the cloud can fail, in words that say where it hung and what to do about it."""

from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from edgevlm_ros.words import clean_text

_PHASES = {
    "connection.connect_tcp.started": ("connecting", "is the network right?"),
    "http11.send_request_headers.started": ("uploading", "lower max_side or jpeg_quality, or raise timeout"),
    "http11.receive_response_headers.started": ("waiting for a reply to begin", "the server is busy or hangs"),
    "http11.receive_response_body.started": ("receiving the reply", "the server or the network is too slow"),
}
"""What a request does from an event of httpcore's trace on, and what to do if that takes too long."""


class Trace:
    """How far a request has come, as httpcore's extension `trace` tells it."""

    def __init__(self) -> None:
        self._phase = next(iter(_PHASES.values()))

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self._phase = _PHASES.get(event, self._phase)

    @property
    def words(self) -> str:
        return f"it was still {self._phase[0]}; {self._phase[1]}"


class Unparsable(Exception):
    """HTTP 200, but not what the API promises."""


class Rejected(Exception):
    """An HTTP status that is not 200."""

    def __init__(self, code: int, text: str, retry_after: str, location: str) -> None:
        self.code = code
        self.retry_after = _seconds(retry_after) if code in (429, 503) else 0.0
        said = f": {clean_text(text[:600], 160)}" if text.strip() else ""
        super().__init__(
            f"HTTP {code}{said} ({self._hint(text, clean_text(retry_after, 40), clean_text(location, 200))})"
        )

    def _hint(self, said: str, retry_after: str, location: str) -> str:
        if self.code in (401, 403):
            return "check the key that api_key_env or api_key_file names"
        if self.code == 413:
            return "lower max_side or jpeg_quality"
        if self.code == 429:
            return f"too many requests{f', retry after {retry_after}' if retry_after else ''}: raise keyframe_period"
        if 300 <= self.code < 400:
            return f"set base_url to where it points: {location}"
        if self.code == 400 and ("temperature" in said or "reasoning" in said):
            return "a model that thinks: set reasoning_effort to what it takes, none if it may"
        if self.code == 503:
            return "it is full, or still loads its model: the next keyframe tries again"
        if self.code >= 500:
            return "the server failed: see its log"
        return "check base_url, which usually ends in /v1, and model"


def _seconds(retry_after: str) -> float:
    """What the header Retry-After asks for (RFC 9110, 10.2.3): seconds, or a date; 0 if neither."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        until = parsedate_to_datetime(retry_after)
        return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0

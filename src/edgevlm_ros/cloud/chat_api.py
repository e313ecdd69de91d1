# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible endpoint as far as the client needs it: its first model, and one chat request with one reply.

Each request has a connection of its own. On a shared one a server that answers twice has its second reply read as the
answer to the next keyframe (h11 keeps what was left over), and one that was closed meanwhile fails what comes over it.
The price are the round trips of TCP and TLS, against the seconds that a large model thinks.
"""

import json
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from edgevlm_ros.cloud.failures import Rejected, Trace, Unparsable
from edgevlm_ros.endpoint import is_loopback, redacted
from edgevlm_ros.words import clean_text

MAX_BODY = 1 << 20
"""Bytes of a response that are read: 256 tokens with logprobs stay far below."""


class ChatApi:
    """url: checked. timeout: seconds, of which TCP and TLS may take a third each, the upload a half, and a reply that
    has begun pauses for a third. All raises Rejected, Unparsable or httpx.HTTPError."""

    def __init__(self, url: httpx.URL, api_key: str, timeout: float) -> None:
        self._key = api_key
        self._timeout = timeout
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Accept-Encoding": "identity", "Connection": "close"}
            | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            timeout=httpx.Timeout(timeout, connect=timeout / 3, write=timeout / 2),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # a server could fill the memory with them
            trust_env=not is_loopback(url.host),  # a proxy of the environment is no way to this machine
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    def redacted(self, text: str) -> str:
        """A server may repeat the key that it did not like; it goes no further than here."""
        return redacted(text, self._key)

    async def first_model(self, trace: Trace) -> str:
        """Id of the first model that the server lists, empty if it lists none."""
        try:
            listing = await self._send(self._http.build_request("GET", "models", extensions={"trace": trace}))
        except Rejected as error:
            if error.code == 404:
                return ""
            raise
        models = listing.get("data")
        first = models[0] if isinstance(models, list) and models else None
        found = first.get("id") if isinstance(first, dict) else None
        return found if isinstance(found, str) else ""

    async def post(self, body: bytes, trace: Trace) -> dict[str, Any]:
        headers, extensions = {"Content-Type": "application/json"}, {"trace": trace}
        request = self._http.build_request(
            "POST", "chat/completions", content=body, headers=headers, extensions=extensions
        )
        return await self._send(request)

    async def _send(self, request: httpx.Request) -> dict[str, Any]:
        """The JSON object that the server returns; raises Rejected, Unparsable or httpx.HTTPError."""
        try:
            response = await self._http.send(request, stream=True)
        except httpx.InvalidURL as error:  # no HTTPError, though it is the server's Location
            raise httpx.RemoteProtocolError(f"it redirects to what is no address: {error}") from error
        # a model may think for long before its reply, but not within it
        request.extensions["timeout"]["read"] = self._timeout / 3
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BODY:
                    raise Unparsable(f"the reply is longer than {MAX_BODY} bytes")
        finally:
            await response.aclose()
        text = self.redacted(body.decode("utf-8", errors="replace"))
        if response.status_code != 200:
            retry_after, location = (self.redacted(response.headers.get(n, "")) for n in ("retry-after", "location"))
            raise Rejected(response.status_code, text, retry_after, location)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Unparsable(f"the reply is no JSON: {clean_text(text[:200], 80)!r}") from error
        if not isinstance(value, dict):
            raise Unparsable(f"the reply is a JSON {type(value).__name__}, not an object")
        return value

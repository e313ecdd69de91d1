# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible endpoint as far as the client needs it: its first model, and one chat request with one reply.

Each request has a connection of its own. On a shared one a server that answers twice has its second reply read as the
answer to the next keyframe (h11 keeps what was left over), and one that was closed meanwhile fails what comes over it.
The price are the round trips of TCP and TLS, against the seconds that a large model thinks.
"""

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from edgevlm_ros.cloud.body import BodyText
from edgevlm_ros.cloud.completion import model_ids, raise_error, read_json
from edgevlm_ros.cloud.failures import Rejected, Server, Trace, Unparsable
from edgevlm_ros.endpoint import is_loopback

MAX_BODY = 1 << 20
"""Bytes of a response that are read: 256 tokens with logprobs stay far below."""


class ChatApi:
    """url: checked. server: with the key that it asks for, or an empty one. timeout: seconds, of which TCP and TLS may
    take a third each, the upload a half, and a reply that has begun pauses for a third. All raises Rejected, Unparsable
    or httpx.HTTPError."""

    def __init__(self, url: httpx.URL, server: Server, timeout: float) -> None:
        self._server = server
        self._timeout = timeout
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Accept-Encoding": "identity", "Connection": "close"}
            | ({"Authorization": f"Bearer {server.key}"} if server.key else {}),
            timeout=httpx.Timeout(timeout, connect=timeout / 3, write=timeout / 2),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # a server could fill the memory with them
            trust_env=not is_loopback(url.host),  # a proxy of the environment is no way to this machine
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def first_model(self, trace: Trace) -> str:
        """Id of the first model that the server lists, empty if it lists none."""
        try:
            listing = await self._send(self._http.build_request("GET", "models", extensions={"trace": trace}))
        except Rejected as error:
            if error.code == 404:
                return ""
            raise
        return next(iter(model_ids(listing)), "")

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
        body, pieces = BodyText(MAX_BODY), []
        try:
            async for chunk in response.aiter_raw():
                pieces.append(body.add(chunk))
            pieces.append(body.add(b"", last=True))
        except Unparsable:
            if response.status_code == 200:  # another status says enough
                raise
        finally:
            await response.aclose()
        text = self._server.redacted("".join(pieces))
        retry_after = response.headers.get("retry-after", "")
        if response.status_code != 200:
            raise Rejected(self._server, response.status_code, text, retry_after, response.headers.get("location", ""))
        reply = read_json(text, self._server)
        raise_error(reply, self._server, retry_after)
        return reply

# SPDX-License-Identifier: Apache-2.0
"""One question about one keyframe to any OpenAI-compatible server, and exactly one result.

The network and the server may do what they like: `CloudClient.ask` returns a status and a message that says what to
do about it, never an exception. Nothing is retried, since a keyframe ages: the next one is the retry. One exception: a
server that refuses the reply's schema has not begun to think, and is asked again at once without it, this once.

Each request has a connection of its own. On a shared one a server that answers twice has its second reply read as the
answer to the next keyframe (h11 keeps what was left over), and one that was closed meanwhile fails what comes over it.
The price are the round trips of TCP and TLS, against the seconds that a large model thinks.
"""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar

import httpx

from edgevlm_ros.cloud.completion import content_of, count_of, finished
from edgevlm_ros.cloud.failures import Rejected, Trace, Unparsable
from edgevlm_ros.cloud.grounding import BoxFormat, Convention, convention, resolved
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.cloud.prompt import chat_request, instructed, reply_schema
from edgevlm_ros.cloud.reply import ReplyError, parse_reply, without_thoughts
from edgevlm_ros.cloud.structured_output import StructuredOutput, StructuredOutputMode
from edgevlm_ros.endpoint import check_base_url, is_loopback, redacted
from edgevlm_ros.transfer.types import Region, Status
from edgevlm_ros.words import clean_text

_T = TypeVar("_T")
MAX_BODY = 1 << 20
"""Bytes of a response that are read: 256 tokens with logprobs stay far below."""


@dataclass(frozen=True, slots=True)
class CloudResult:
    """How one request ended. error: for people, empty if the status is OK. regions: pixels of the keyframe.

    model: as the server names it. Token counts are the server's, 0 if it gives none. ill: the way to the server or the
    server itself is at fault, so that the next keyframe would most likely end the same way. retry_after: seconds for
    which the server wants no request. regions_foreign: see reply.Reply. note: what people should know of the server,
    found out with this request; said once.
    """

    status: Status
    error: str = ""
    text: str = ""
    regions: tuple[Region, ...] = ()
    regions_dropped: int = 0
    model: str = ""
    bytes_up: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ill: bool = False
    retry_after: float = 0.0
    regions_foreign: int = 0
    note: str = ""


class CloudClient:
    """The way to one OpenAI-compatible endpoint. To be used in one event loop.

    model: empty asks the server for its models once and takes the first; a server that lists none chooses itself.
    timeout: seconds for a whole request; TCP and TLS may take a third each, the upload a half, and a reply that has
    begun pauses for a third. box_format: auto goes by the model's name, by which it is asked for or which it gives
    itself. structured_output: see StructuredOutput. allow_http: see endpoint.check_base_url.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str = "",
        api_key: str = "",
        timeout: float = 10.0,
        box_format: BoxFormat = "relative_1000",
        max_regions: int = 8,
        max_answer_chars: int = 200,
        structured_output: StructuredOutputMode = "auto",
        allow_http: bool = False,
    ) -> None:
        url = check_base_url(base_url, allow_http=allow_http)
        self.base_url = str(url)
        self._model = model
        self._found_model: str | None = None
        self._key = api_key
        self._timeout = timeout
        self._box_format = box_format
        self._max_regions = max_regions
        self._max_answer_chars = max_answer_chars
        self._structured = StructuredOutput(structured_output)
        self._named = ""  # by the server, in its last reply
        self._told_foreign = False
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Accept-Encoding": "identity", "Connection": "close"}
            | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            timeout=httpx.Timeout(timeout, connect=timeout / 3, write=timeout / 2),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # a server could fill the memory with them
            trust_env=not is_loopback(url.host),  # a proxy of the environment is no way to this machine
        )

    @property
    def structured_output(self) -> str:
        """What the server makes of the reply's schema, for people."""
        return self._structured.words

    async def aclose(self) -> None:
        await self._http.aclose()

    async def ask(self, upload: Upload, question: str) -> CloudResult:
        """Ask about one keyframe; every way it can end is a result."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        trace, sent = Trace(), 0
        try:
            if not self._model and self._found_model is None:
                self._found_model = await _by(deadline, self._first_model(trace))
            boxes, note = self._convention(upload), ""
            asked_for = self._structured.asks
            body = self._body(upload, question, boxes, with_schema=asked_for)
            sent = len(body)
            try:
                reply = await _by(deadline, self._post(body, trace))
            except Rejected as error:
                if not (asked_for and self._structured.tries_without(error.code, str(error))):
                    raise
                body = self._body(upload, question, boxes)
                sent += len(body)
                reply = await _by(deadline, self._post(body, trace))
                asked_for, note = False, self._structured.went_without(str(error))
            return self._answered(upload, reply, boxes, sent, asked_for, note)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            hint = "is the server running, and are base_url and the network right?"
            return self._ill(Status.UNREACHABLE, f"no connection to {self.base_url} ({_reason(error)}): {hint}")
        except (asyncio.TimeoutError, httpx.TimeoutException):
            late = f"no whole reply within timeout = {self._timeout:g} s or a phase's share of it: {trace.words}"
            return self._ill(Status.TIMEOUT, late, sent)
        except Rejected as error:
            if error.code in (400, 404):
                self._found_model = None  # the server may serve another model than it did
            return self._ill(Status.REJECTED, str(error), sent, error.retry_after)
        except Unparsable as error:
            return self._ill(Status.UNPARSABLE, str(error), sent)
        except httpx.HTTPError as error:
            return self._ill(Status.UNREACHABLE, f"{self.base_url} broke the connection ({_reason(error)})", sent)

    async def sees_images(self, result: CloudResult, upload: Upload, question: str) -> bool | None:
        """Whether the image of an answered request was counted in its prompt; None if that cannot be told.

        Some servers drop images they cannot handle and answer from the words alone, with HTTP 200. The same request
        without its image then costs the same number of tokens.
        """
        if result.status is not Status.OK or result.prompt_tokens == 0:
            return None
        try:
            boxes, schema = self._convention(upload), self._structured.asks  # which some servers count too
            body = self._body(upload, question, boxes, with_image=False, with_schema=schema, max_tokens=1)
            reply = await asyncio.wait_for(self._post(body, Trace()), self._timeout)
        except (asyncio.TimeoutError, httpx.HTTPError, Rejected, Unparsable):
            return None
        words_alone = count_of(reply, "prompt_tokens")
        return None if words_alone == 0 else words_alone < result.prompt_tokens

    def _convention(self, upload: Upload) -> Convention:
        """How the model counts boxes on an image, as far as is known now."""
        box_format = resolved(self._box_format, self._model or self._found_model or "", self._named)
        return convention(box_format, upload.width, upload.height)

    def _answered(
        self, upload: Upload, reply: dict[str, Any], boxes: Convention, sent: int, with_schema: bool, note: str
    ) -> CloudResult:
        """The result of a reply; raises Unparsable if it is none of this API."""
        content, named = content_of(reply), reply.get("model")
        self._named = clean_text(named, 100) if isinstance(named, str) else ""
        if with_schema:
            note = self._structured.came(without_thoughts(content), finished(reply))
        result = CloudResult(
            status=Status.OK,
            model=self._named or self._model or self._found_model or "",
            bytes_up=sent,
            prompt_tokens=count_of(reply, "prompt_tokens"),
            completion_tokens=count_of(reply, "completion_tokens"),
            note=note,
        )
        try:
            parsed = parse_reply(
                content,
                width=upload.source_width,
                height=upload.source_height,
                extent=boxes.extent,
                rows_first=boxes.rows_first,
                max_regions=self._max_regions,
                max_chars=self._max_answer_chars,
            )
        except ReplyError as error:  # the server is well, and what the model said without answering is paid for
            return replace(result, status=Status.UNPARSABLE, error=str(error))
        if parsed.regions_foreign and not self._told_foreign:
            self._told_foreign = True
            note = "; ".join(filter(None, (note, self._foreign_words())))
        return replace(
            result,
            text=parsed.text,
            regions=parsed.regions,
            regions_dropped=parsed.regions_dropped,
            regions_foreign=parsed.regions_foreign,
            note=note,
        )

    def _foreign_words(self) -> str:
        return (
            f"the model counts boxes in another way than box_format = {self._box_format} says: none of such a reply is "
            "used, set box_format to the model's own"
        )

    def _body(
        self,
        upload: Upload,
        question: str,
        boxes: Convention,
        *,
        with_image: bool = True,
        with_schema: bool = False,
        max_tokens: int = 256,
    ) -> bytes:
        request = chat_request(
            system=instructed(boxes, self._max_regions),
            question=question,
            jpeg=upload.jpeg if with_image else None,
            model=self._model or self._found_model or "",
            max_tokens=max_tokens,
            schema=reply_schema(boxes, self._max_regions) if with_schema else None,
        )
        return json.dumps(request).encode()

    async def _first_model(self, trace: Trace) -> str:
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

    async def _post(self, body: bytes, trace: Trace) -> dict[str, Any]:
        headers, extensions = {"Content-Type": "application/json"}, {"trace": trace}
        request = self._http.build_request(
            "POST", "chat/completions", content=body, headers=headers, extensions=extensions
        )
        return await self._send(request)

    async def _send(self, request: httpx.Request) -> dict[str, Any]:
        """The JSON object that the server returns; raises Rejected, Unparsable or httpx.HTTPError."""
        response = await self._http.send(request, stream=True)
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
        text = self._redacted(body.decode("utf-8", errors="replace"))
        if response.status_code != 200:
            retry_after, location = (self._redacted(response.headers.get(n, "")) for n in ("retry-after", "location"))
            raise Rejected(response.status_code, text, retry_after, location)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Unparsable(f"the reply is no JSON: {clean_text(text[:200], 80)!r}") from error
        if not isinstance(value, dict):
            raise Unparsable(f"the reply is a JSON {type(value).__name__}, not an object")
        return value

    def _ill(self, status: Status, error: str, sent: int = 0, retry_after: float = 0.0) -> CloudResult:
        return CloudResult(status, error=self._redacted(error), bytes_up=sent, ill=True, retry_after=retry_after)

    def _redacted(self, text: str) -> str:
        """A server may repeat the key that it did not like; it goes no further than here."""
        return redacted(text, self._key)


async def _by(deadline: float, work: Coroutine[Any, Any, _T]) -> _T:
    """Await until a time of the running loop's clock, or asyncio.TimeoutError."""
    return await asyncio.wait_for(work, deadline - asyncio.get_running_loop().time())


def _reason(error: Exception) -> str:
    return clean_text(str(error), 160) or type(error).__name__

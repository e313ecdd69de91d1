# SPDX-License-Identifier: Apache-2.0
"""One question about one keyframe to any OpenAI-compatible server, and exactly one result.

The network and the server may do what they like: `CloudClient.ask` returns a status and a message that says what to
do about it, never an exception. Nothing is retried, since a keyframe ages: the next one is the retry. One exception: a
server that refuses the reply's schema has not begun to think, and is asked again at once without it, this once.
"""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx

from edgevlm_ros.cloud.chat_api import ChatApi
from edgevlm_ros.cloud.completion import Message
from edgevlm_ros.cloud.failures import NoAnswer, Rejected, Server, Trace, Unparsable
from edgevlm_ros.cloud.grounding import BoxFormat, Convention, convention, resolved
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.cloud.prompt import ReasoningEffort, chat_request, instructed, reply_schema, reply_tokens
from edgevlm_ros.cloud.refusals import named_by, without
from edgevlm_ros.cloud.reply import ReplyError, parse_reply
from edgevlm_ros.cloud.structured_output import StructuredOutput, StructuredOutputMode
from edgevlm_ros.endpoint import check_base_url
from edgevlm_ros.transfer.types import Region, Status

_T = TypeVar("_T")
_MALFORMED = (400, 404, 415, 422, 501)
_NO_FEATURES = (
    "a server that does not take features says so like this: ask `edgevlm serve` with the model that features.model "
    "names, or set upload to image"
)
_THINKING = (
    "set reasoning_effort to what the model takes, none if it may, or switch thinking off at its server "
    "(vLLM: --default-chat-template-kwargs '{\"enable_thinking\": false}')"
)
_ODD_TOKENS, _TOKENS_AROUND = 0.1, 16
"""Of an image's tokens, and beside them: markers, and words that differ, are no other size."""


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
    itself. structured_output: see StructuredOutput. reasoning_effort: see chat_request. allow_http: see
    endpoint.check_base_url.
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
        reasoning_effort: ReasoningEffort = "default",
        allow_http: bool = False,
    ) -> None:
        url = check_base_url(base_url, allow_http=allow_http)
        self.base_url = str(url)
        self._model = model
        self._found_model: str | None = None
        self._timeout = timeout
        self._box_format = box_format
        self._max_regions = max_regions
        self._max_answer_chars = max_answer_chars
        self._structured = StructuredOutput(structured_output)
        self._effort = reasoning_effort
        self._refused_fields: frozenset[str] = frozenset()
        self._named = ""  # by the server, in its last reply
        self._told_foreign = False
        self._server = Server(
            api_key,
            "base_url",
            refused="check base_url, which usually ends in /v1, and model",
            too_large="lower max_side or jpeg_quality",
            too_many="raise keyframe_period",
            thinking=_THINKING,
        )
        self._api = ChatApi(url, self._server, timeout)

    @property
    def structured_output(self) -> str:
        """What the server makes of the reply's schema, for people."""
        return self._structured.words

    async def aclose(self) -> None:
        await self._api.aclose()

    async def ask(self, upload: Upload, question: str) -> CloudResult:
        """Ask about one keyframe; every way it can end is a result."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        trace, sent = Trace(), 0
        try:
            if not self._model and self._found_model is None:
                self._found_model = await _by(deadline, self._api.first_model(trace))
            boxes, note = self._convention(upload), ""
            with_schema, refused_fields, refusal = self._structured.asks, self._refused_fields, ""
            while True:
                request = without(refused_fields, self._request(upload, question, boxes, with_schema=with_schema))
                body = json.dumps(request).encode()
                sent += len(body)
                try:
                    reply = await _by(deadline, self._api.post(body, trace))
                    break
                except Rejected as error:
                    if named := named_by(error, request):
                        refused_fields |= named
                        note = _effort_refused(error) if "reasoning_effort" in named else note
                    elif with_schema and self._structured.tries_without(error.code, error.text):
                        with_schema, refusal = False, str(error)
                    else:
                        raise
            self._refused_fields = refused_fields
            if refusal:
                note = "; ".join(filter(None, (note, self._structured.went_without(refusal))))
            return self._answered(upload, reply, boxes, sent, with_schema, note)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            hint = "is the server running, and are base_url and the network right?"
            return self._ill(
                Status.UNREACHABLE, f"no connection to {self.base_url} ({self._server.reason(error)}): {hint}"
            )
        except (asyncio.TimeoutError, httpx.TimeoutException):
            late = f"no whole reply within timeout = {self._timeout:g} s or a phase's share of it: {trace.words}"
            return self._ill(Status.TIMEOUT, late, sent)
        except Rejected as error:
            if error.code in (400, 404):
                self._found_model = None  # the server may serve another model than it did
            hint = f"; {_NO_FEATURES}" if upload.features and error.code in _MALFORMED else ""
            return self._ill(Status.REJECTED, f"{error}{hint}", sent, error.retry_after)
        except Unparsable as error:
            return self._ill(Status.UNPARSABLE, str(error), sent)
        except httpx.HTTPError as error:
            broken = f"{self.base_url} broke the connection ({self._server.reason(error)})"
            return self._ill(Status.UNREACHABLE, broken, sent)

    async def doubts(self, result: CloudResult, upload: Upload, question: str) -> str:
        """What is wrong with how the server looks at an image that it has answered about; empty if nothing shows.

        Some servers drop images they cannot handle and answer from the words alone, with HTTP 200. Others reduce them
        further than the model's own processor, and a model that counts pixels then counts fewer.
        """
        tokens = await self._image_tokens(result, upload, question)
        if tokens is None:
            return ""
        if tokens <= 0:
            return (
                "the server answers from the words alone: its token count is the same without the image. "
                "Serve a vision-language model, with its processor"
            )
        boxes = self._convention(upload)
        whole = not upload.features  # of which fewer may have gone up
        if whole and boxes.tokens and abs(tokens - boxes.tokens) > _ODD_TOKENS * boxes.tokens + _TOKENS_AROUND:
            return (
                f"the server makes {tokens} tokens of an image of which the model's own processor makes "
                f"{boxes.tokens}: it counts boxes on another size. Raise the server's max_pixels, or lower max_side"
            )
        return ""

    async def sees_images(self, result: CloudResult, upload: Upload, question: str) -> bool | None:
        """Whether the image of an answered request was counted in its prompt; None if that cannot be told."""
        tokens = await self._image_tokens(result, upload, question)
        return None if tokens is None else tokens > 0

    async def _image_tokens(self, result: CloudResult, upload: Upload, question: str) -> int | None:
        """How many tokens more a request had than the same one without its image; None if that cannot be told."""
        if result.status is not Status.OK or result.prompt_tokens == 0:
            return None
        try:
            boxes, schema = self._convention(upload), self._structured.asks  # which some servers count too
            request = self._request(upload, question, boxes, with_image=False, with_schema=schema, max_tokens=1)
            body = json.dumps(without(self._refused_fields, request)).encode()
            message = Message(self._server)
            message.add(await asyncio.wait_for(self._api.post(body, Trace()), self._timeout))
        except (asyncio.TimeoutError, httpx.HTTPError, Rejected, Unparsable):
            return None
        return None if message.prompt_tokens == 0 else result.prompt_tokens - message.prompt_tokens

    def _convention(self, upload: Upload) -> Convention:
        """How the model counts boxes on an image, as far as is known now."""
        box_format = resolved(self._box_format, self._model or self._found_model or "", self._named)
        return convention(box_format, upload.width, upload.height)

    def _answered(
        self, upload: Upload, reply: dict[str, Any], boxes: Convention, sent: int, with_schema: bool, note: str
    ) -> CloudResult:
        """The result of a reply; raises Unparsable if it is none of this API."""
        message = Message(self._server)
        message.add(reply)
        named = reply.get("model")
        self._named = self._server.quoted(named, 100) if isinstance(named, str) else ""
        result = CloudResult(
            status=Status.OK,
            model=self._named or self._model or self._found_model or "",
            bytes_up=sent,
            prompt_tokens=message.prompt_tokens,
            completion_tokens=message.completion_tokens,
        )
        try:
            # the body was redacted, but JSON within its JSON and a content in parts hold what only now is whole
            content = self._server.redacted(message.answer(structured=True))
            if with_schema:
                note = self._structured.came(content, message.finish in ("stop", "")) or note
            parsed = parse_reply(
                content,
                width=upload.source_width,
                height=upload.source_height,
                extent=boxes.extent,
                rows_first=boxes.rows_first,
                cut=message.cut,
                max_regions=self._max_regions,
                max_chars=self._max_answer_chars,
            )
        except (NoAnswer, ReplyError) as error:  # the server is well, and what the model said is paid for
            dropped = error.regions_dropped if isinstance(error, ReplyError) else 0
            return replace(result, status=Status.UNPARSABLE, error=str(error), regions_dropped=dropped, note=note)
        if self._convention(upload) != boxes:  # the reply names another family than the request: either's may be meant
            lost = parsed.regions_dropped + len(parsed.regions)
            parsed = replace(parsed, regions=(), regions_dropped=lost, regions_foreign=0)
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

    def _request(
        self,
        upload: Upload,
        question: str,
        boxes: Convention,
        *,
        with_image: bool = True,
        with_schema: bool = False,
        max_tokens: int = 0,
    ) -> dict[str, Any]:
        return chat_request(
            system=instructed(boxes, self._max_regions),
            question=question,
            jpeg=upload.jpeg if with_image else None,
            features=upload.features if with_image else b"",
            model=self._model or self._found_model or "",
            max_tokens=max_tokens or reply_tokens(self._effort),
            schema=reply_schema(boxes, self._max_regions) if with_schema else None,
            reasoning_effort=self._effort,
        )

    def _ill(self, status: Status, error: str, sent: int = 0, retry_after: float = 0.0) -> CloudResult:
        return CloudResult(status, error=self._server.redacted(error), bytes_up=sent, ill=True, retry_after=retry_after)


async def _by(deadline: float, work: Coroutine[Any, Any, _T]) -> _T:
    """Await until a time of the running loop's clock, or asyncio.TimeoutError."""
    return await asyncio.wait_for(work, deadline - asyncio.get_running_loop().time())


def _effort_refused(error: Rejected) -> str:
    return f"the server takes no reasoning_effort and is asked without it from now on ({error})"

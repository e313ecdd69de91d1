# SPDX-License-Identifier: Apache-2.0
"""What a chat completion of the OpenAI API says, whole or in pieces, as far as servers keep to it.

Servers leave out or set to null whatever they do not know, put an answer into the reasoning or into the arguments of a
tool, and report errors with HTTP 200.
"""

import json
import re
from collections import defaultdict
from typing import Any

from edgevlm_ros.cloud.failures import NoAnswer, Rejected, Server, Unparsable
from edgevlm_ros.words import without_thoughts

_CUT = ("length", "max_tokens")
_FILTERED = ("content_filter", "safety")
_LONGEST_ID = 256
_NAMED = (("rate.?limit|quota|too_many", 429), ("overload", 529), ("auth|api_key|permission", 401), ("not_found", 404))
"""HTTP statuses of errors that come with a name in place of a code."""


class Message:
    """The first choice of a completion, as far as it has come.

    finish: why it ended, in lower case, empty until then. Token counts: 0 where the server gives none that can be true.
    """

    def __init__(self, server: Server) -> None:
        self.finish = ""
        self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0
        self._server = server
        self._thought_tokens = 0
        self._came = self._is_whole = False
        self._other: dict[str, Any] = {}
        self._pieces: defaultdict[str, list[str]] = defaultdict(list)

    @property
    def content(self) -> str:
        return self._part("content")

    @property
    def cut(self) -> bool:
        """Whether the model was stopped before it came to its end."""
        return self.finish in _CUT

    @property
    def broke_off(self) -> bool:
        """Whether a stream that is over ended before the message did."""
        return self._came and not (self._is_whole or self.finish)

    def add(self, reply: dict[str, Any]) -> str:
        """Takes in a whole reply, or one chunk of a stream; returns the new content. Raises Unparsable."""
        choice = first_choice(reply)
        self._count(as_dict(reply.get("usage")))
        self.finish = str(choice.get("finish_reason") or self.finish).lower()
        said = choice.get("message") or choice.get("delta")
        if not isinstance(said, dict):
            self._other = reply
            return ""
        self._came, self._is_whole = True, "message" in choice
        call = as_dict(next(iter(as_list(said.get("tool_calls"))), None))
        content = said.get("content")
        if not (content is None or isinstance(content, str | list)):
            raise Unparsable(f"the message of the reply has no text: {self._server.quoted(_words(said), 80)!r}")
        pieces = {
            "content": _text(content),
            "reasoning": _text(said.get("reasoning_content") or said.get("reasoning")),
            "refusal": _text(said.get("refusal")),
            "arguments": "" if call.get("index") else _arguments(call.get("function") or said.get("function_call")),
        }
        for name, piece in pieces.items():
            self._pieces[name].append(piece)
        return pieces["content"]

    def answer(self, *, structured: bool) -> str:
        """The words of a message that has ended, without what the model thought aloud.

        structured: the answer is JSON, which some servers put elsewhere. Raises NoAnswer, or Unparsable if there is no
        message at all.
        """
        if not self._came:
            quote = f": {self._server.quoted(_words(self._other), 80)!r}" if self._other else ""
            raise Unparsable(f"the reply has no choices[0].message{quote}")
        if refusal := self._part("refusal").strip():
            raise NoAnswer(f"the model refuses to answer: {self._server.quoted(refusal)}")
        if self.finish in _FILTERED:
            raise NoAnswer("the server's content filter took the answer: ask in other words, or take another server")
        answer, is_thought_open = without_thoughts(self.content)
        answer = "" if is_thought_open else answer
        reasoning, arguments = self._part("reasoning"), self._part("arguments")
        if structured and not answer.strip():
            answer = arguments or self._structured_reasoning(reasoning)
        if answer.strip():
            return answer
        if self.content.strip() or reasoning or self._thought_tokens or self.cut:
            raise self.only_thoughts()
        if arguments:
            raise NoAnswer("the model calls a tool and says nothing: start its server without a parser of tool calls")
        if structured:
            raise NoAnswer("the message of the reply has no text")
        return ""

    def only_thoughts(self) -> NoAnswer:
        """What to raise for a model that thought and did not come to an answer."""
        tokens = self._thought_tokens or self.completion_tokens
        spent = f"{tokens} tokens" if tokens else "all of the reply"
        return NoAnswer(f"{spent} went into thinking and nothing was answered: {self._server.thinking}")

    def _part(self, name: str) -> str:
        return "".join(self._pieces[name])

    def _structured_reasoning(self, reasoning: str) -> str:
        """JSON in place of thoughts: a server takes it for them if it waits in vain for a thought to end."""
        said = without_thoughts(reasoning)[0].strip()
        return said if said.startswith(("{", "```")) and not self.cut else ""

    def _count(self, usage: dict[str, Any]) -> None:
        self.prompt_tokens = _number(usage, "prompt_tokens") or self.prompt_tokens
        self.completion_tokens = _number(usage, "completion_tokens") or self.completion_tokens
        prompt, completion = (
            as_dict(usage.get("prompt_tokens_details")),
            as_dict(usage.get("completion_tokens_details")),
        )
        self.cached_tokens = _number(prompt, "cached_tokens") or self.cached_tokens
        self._thought_tokens = _number(completion, "reasoning_tokens") or self._thought_tokens


def first_choice(reply: dict[str, Any]) -> dict[str, Any]:
    return as_dict(next(iter(as_list(reply.get("choices"))), None))


def model_ids(listing: dict[str, Any]) -> tuple[str, ...]:
    """The models of a server's list, but for those whose name is endless or cannot be printed."""
    names = (as_dict(model).get("id") for model in as_list(listing.get("data")))
    return tuple(n for n in names if isinstance(n, str) and n.isprintable() and 0 < len(n) <= _LONGEST_ID)


def read_json(text: str, server: Server) -> dict[str, Any]:
    """The JSON object that a body holds. Raises Unparsable."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Unparsable(f"the reply is no JSON: {server.quoted(text, 80)!r}") from None
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):  # Gemini's errors
        value = value[0]
    if not isinstance(value, dict):
        raise Unparsable(f"the reply is a JSON {type(value).__name__}, not an object: {server.quoted(text, 80)!r}")
    return value


def raise_error(reply: dict[str, Any], server: Server, retry_after: str = "") -> None:
    """Raises Rejected for an error that a server reports with HTTP 200. retry_after: its header of that name."""
    choice = first_choice(reply)
    failed = choice.get("finish_reason") == "error"
    error = reply.get("error") or choice.get("error") or (reply if reply.get("object") == "error" else None)
    if not error and "choices" not in reply:
        error = reply.get("detail")
    if not (error or failed):
        return
    fields = as_dict(error)
    said = fields.get("message") or error or "the model failed on it"
    names = [fields.get("code"), fields.get("status"), reply.get("code"), fields.get("type")]
    raise Rejected(server, next(filter(None, map(_code, names)), 0), _words(said), retry_after, whole=False)


def _code(name: Any) -> int:
    """The HTTP status that an error stands for; 0 if that is unknown."""
    text = str(name).lower()
    if re.fullmatch("[45][0-9]{2}", text):
        return int(text)
    return next((code for names, code in _NAMED if re.search(names, text)), 0)


def _arguments(function: Any) -> str:
    arguments = as_dict(function).get("arguments")
    return _words(arguments) if isinstance(arguments, str | dict) else ""


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "..."


def _text(value: Any) -> str:
    """A text, whole or in parts."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(usage: dict[str, Any], name: str) -> int:
    count = usage.get(name)
    return count if type(count) is int and 0 < count < 2**32 else 0

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest

from edgevlm_ros.cloud.completion import Message, model_ids, raise_error, read_json
from edgevlm_ros.cloud.failures import NoAnswer, Rejected, Server, Unparsable

KEY = "sk-canary-0123456789"
SERVER = Server(KEY, "base_url", refused="", too_large="", too_many="", thinking="switch thinking off")
OURS = '{"answer": "left", "regions": []}'


def reply(content: Any = "left", finish: object = "stop", usage: Any = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content} | said, "finish_reason": finish}], "usage": usage}


def answer(whole: dict[str, Any], structured: bool = True) -> str:
    message = Message(SERVER)
    message.add(whole)
    return message.answer(structured=structured)


def call(arguments: Any) -> list[dict[str, Any]]:
    return [{"id": "1", "type": "function", "function": {"name": "answer", "arguments": arguments}}]


ANSWERS = {
    "a text": reply(OURS),
    "parts": reply([{"type": "text", "text": OURS[:9]}, {"text": OURS[9:]}, "odd"]),
    "a thought before it": reply(f"<think>Hm.</think>{OURS}"),
    "a thought that began in the prompt": reply(f"Hm.</think>{OURS}"),
    "reasoning_content": reply(None, reasoning_content=OURS),
    "reasoning": reply("", reasoning=f"\n{OURS}"),
    "a tool's arguments": reply(None, tool_calls=call(OURS)),
    "a tool's arguments as an object": reply(None, tool_calls=call(json.loads(OURS))),
    "a function's arguments": reply(None, function_call={"name": "answer", "arguments": OURS}),
    "no reason for its end": reply(OURS, finish=None),
}


@pytest.mark.parametrize("whole", ANSWERS.values(), ids=ANSWERS)
def test_the_answer_is_read_where_the_server_put_it(whole: dict[str, Any]) -> None:
    assert answer(whole).strip() == OURS


THOUGHT = {"completion_tokens": 256, "completion_tokens_details": {"reasoning_tokens": 250}}
NONE = {
    "a refusal": (reply(None, refusal="I cannot look at people"), "refuses to answer: I cannot look at people"),
    "a refusal that repeats the key": (reply(None, refusal=f"{KEY}?"), r"refuses to answer: \*\*\*\?"),
    "a filter": (reply("the per", finish="content_filter"), "content filter"),
    "Gemini's filter": (reply(None, finish="SAFETY"), "content filter"),
    "an open thought": (reply("<think>\nOkay, the user wants", "length"), "went into thinking.*switch thinking off"),
    "a thought and nothing": (reply("Hm.</think>"), "all of the reply went into thinking"),
    "reasoning that was cut": (reply("", "length", THOUGHT, reasoning="The user"), "250 tokens went into thinking"),
    "JSON in reasoning that was cut": (reply("", "length", reasoning=OURS), "went into thinking"),
    "an example within a thought": (reply(None, reasoning=f"I am asked for {OURS}"), "went into thinking"),
    "silence after thinking": (reply("", "length", THOUGHT), "250 tokens went into thinking"),
    "silence until the limit": (reply("", "length", {"completion_tokens": 256}), "256 tokens went into thinking"),
    "silence": (reply(""), "no text"),
    "null": (reply(None), "no text"),
}


@pytest.mark.parametrize(("whole", "why"), NONE.values(), ids=NONE)
def test_why_a_model_gave_no_answer_is_said(whole: dict[str, Any], why: str) -> None:
    with pytest.raises(NoAnswer, match=why):
        answer(whole)


def test_words_alone_are_not_looked_for_in_tools_and_thoughts() -> None:
    assert answer(reply(""), structured=False) == ""
    with pytest.raises(NoAnswer, match="calls a tool"):
        answer(reply("", tool_calls=call(OURS)), structured=False)
    with pytest.raises(NoAnswer, match="went into thinking"):
        answer(reply("", reasoning=OURS), structured=False)


@pytest.mark.parametrize("wrong", [{}, {"choices": []}, {"choices": "?"}, {"choices": [3]}, reply(7)])
def test_a_reply_without_a_message_is_unparsable(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unparsable):
        answer(wrong)


@pytest.mark.parametrize(("reason", "cut"), [("stop", False), (None, False), ("length", True), ("MAX_TOKENS", True)])
def test_a_reply_that_was_cut_says_so(reason: object, cut: bool) -> None:
    message = Message(SERVER)
    message.add(reply(finish=reason))
    assert message.cut is cut


def test_a_message_grows_with_the_chunks_of_a_stream() -> None:
    message = Message(SERVER)
    for content in ("on ", [{"type": "text", "text": "the "}], None, "left"):
        message.add({"choices": [{"delta": {"content": content}, "finish_reason": None}]})
    message.add({"choices": [], "usage": {"prompt_tokens": 150, "prompt_tokens_details": {"cached_tokens": 90}}})
    assert message.answer(structured=False) == "on the left"
    assert (message.prompt_tokens, message.cached_tokens) == (150, 90)


def test_a_stream_that_ends_before_its_message_broke_off() -> None:
    message = Message(SERVER)
    assert not message.broke_off
    message.add({"choices": [{"delta": {"content": "le"}}]})
    assert message.broke_off
    message.add({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    assert not message.broke_off
    message = Message(SERVER)
    message.add(reply(finish=None))
    assert not message.broke_off


def test_the_arguments_of_the_first_tool_grow_with_the_chunks_of_a_stream() -> None:
    message = Message(SERVER)
    for index, arguments in ((0, OURS[:9]), (1, "{}"), (0, OURS[9:])):
        tool = {"index": index, "function": {"arguments": arguments}}
        message.add({"choices": [{"delta": {"tool_calls": [tool]}}]})
    assert message.answer(structured=True) == OURS


def test_an_error_without_end_is_an_error_all_the_same() -> None:
    deep: Any = "busy"
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(Rejected):
        raise_error({"error": deep}, SERVER)


@pytest.mark.parametrize("usage", [None, "many", {}, *({"prompt_tokens": odd} for odd in (-1, 2**32, True, "7"))])
def test_counts_that_cannot_be_true_are_none(usage: object) -> None:
    message = Message(SERVER)
    message.add(reply(usage=usage))
    assert message.prompt_tokens == 0


def test_a_models_name_is_one_that_can_be_asked_for() -> None:
    odd = ["\ud800", "a\n[ERROR] forged", "\x1b[2J", "x" * 100_000, "", None, 7]
    assert model_ids({"data": [*({"id": name} for name in odd), {"id": "org/some-2b"}, "?"]}) == ("org/some-2b",)
    assert model_ids({"data": "?"}) == model_ids({}) == ()


def test_what_is_no_object_is_quoted_without_the_key() -> None:
    for text in (f"<html>{KEY}\n</html>", f'["{KEY}"]'):
        with pytest.raises(Unparsable, match=r"\*\*\*") as caught:
            read_json(text, SERVER)
        assert KEY[:9] not in str(caught.value)
        assert "\n" not in str(caught.value)

# SPDX-License-Identifier: Apache-2.0
import itertools
import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cloud.failures import NoAnswer, Server, Unparsable
from edgevlm_ros.edge.streamed_answer import StreamedAnswer, events
from edgevlm_ros.words import without_thoughts

SERVER = Server("", "server_url", refused="", too_large="", too_many="", thinking="")
WORDS = "左边 l'œuf\u2028\x85\x0c🙂"  # with characters that str.splitlines takes for the end of a line


def chunk(content: object = None, finish: object = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish, **fields}]}


def cut(body: str, at: list[int]) -> list[str]:
    edges = [0, *sorted({position % len(body) for position in at}), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def streamed(**options: Any) -> StreamedAnswer:
    return StreamedAnswer(SERVER, 1000, **options)


@given(st.lists(st.integers(0, 10_000), max_size=40), st.sampled_from(["\n\n", "\r\n\r\n"]), st.booleans())
def test_the_events_do_not_depend_on_where_the_network_cuts_them(at: list[int], end: str, ended: bool) -> None:
    sent = [json.dumps({"text": WORDS, "n": n}, ensure_ascii=False) for n in range(3)]
    lines = [": a comment", "event: message", "data:", *(f"data: {data}" for data in sent), "data:[DONE]"]
    assert list(events(cut(end.join(lines) + end * ended, at))) == [*sent, "[DONE]"]


@pytest.mark.parametrize("end", ["", "\n"])
@given(at=st.lists(st.integers(0, 10_000), max_size=9))
def test_plain_json_in_place_of_a_stream_is_one_event(end: str, at: list[int]) -> None:
    body = json.dumps({"text": WORDS, "data:": "\ndata: {}"}, ensure_ascii=False, indent=1)
    assert list(events(["", "\n", *cut(body + end, at)])) == [body + end]


def test_an_event_that_is_cut_off_is_none() -> None:
    assert list(events(['data: {"a": 1}\n\ndata: {"b"'])) == ['{"a": 1}']


def test_the_text_grows_piece_by_piece() -> None:
    answer = streamed()
    assert [answer.add(chunk(piece)) for piece in (None, "", " on the", " left\n")] == ["", "", " on the", " left\n"]
    assert answer.so_far == "on the left"
    assert not answer.message.finish
    answer.add(chunk(finish="stop"))
    assert answer.message.finish
    assert answer.whole() == "on the left"


def told(pieces: list[str], **options: Any) -> tuple[list[str], StreamedAnswer]:
    answer = streamed(**options)
    said = [answer.add(chunk(piece)) for piece in pieces]
    answer.add(chunk(finish="stop"))
    return said, answer


def test_a_thought_is_told_to_nobody() -> None:
    said, answer = told(["<th", "ink>", "\nOkay, the", " user wants", "</thi", "nk>", "\n\n", "Yes", "."])
    assert said == ["", "", "", "", "", "", "\n\n", "Yes", "."]
    assert (answer.whole(), answer.rest()) == ("Yes.", "")


def test_what_only_looked_like_the_beginning_of_a_thought_is_told() -> None:
    said, answer = told(["a ", "<b", " c", " [d"])
    assert said == ["a ", "", "<b c", " "]
    assert (answer.whole(), answer.rest()) == ("a <b c [d", "[d")


@pytest.mark.parametrize(
    "thought", ["<think>\nOkay, the user wants", "<thinking>Hm", "<|channel|>analysis<|message|>Hm"]
)
def test_a_thought_without_an_end_is_no_answer(thought: str) -> None:
    said, answer = told(list(thought))
    with pytest.raises(NoAnswer, match="thinking"):
        answer.whole()
    assert ("".join(said), answer.rest(), answer.so_far) == ("", "", "")


def test_after_a_thought_whose_beginning_was_in_the_prompt_the_next_one_is_held() -> None:
    said, answer = told(["Okay", ", hm", "</think>", "Yes"])
    assert (said, answer.whole()) == (["Okay", ", hm", "</think>", "Yes"], "Yes")
    assert without_thoughts("".join(said)) == ("Yes", False)
    assert answer.begins_thinking
    said, answer = told(["Okay", ", hm", "</think>", "Yes"], begins_thinking=True)
    assert (said, answer.whole()) == (["", "", "", "Yes"], "Yes")


def test_a_thought_that_began_in_the_prompt_and_was_cut_is_no_answer() -> None:
    answer = streamed(begins_thinking=True)
    assert answer.add(chunk("Okay, the user", finish="length")) == ""
    with pytest.raises(NoAnswer, match="thinking"):
        answer.whole()
    assert answer.rest() == ""


def test_who_stops_to_think_is_heard_again() -> None:
    said, answer = told(["Yes", "."], begins_thinking=True)
    assert (said, answer.whole(), answer.rest()) == (["", ""], "Yes.", "Yes.")
    assert not answer.begins_thinking


def test_the_confidence_is_that_of_the_answer_and_not_of_the_thought() -> None:
    answer = streamed()
    for piece, probability in (("<think>", 0.1), ("Hm", 0.1), ("</think>", 0.1), ("left", 0.5)):
        answer.add(chunk(piece, logprobs={"content": [{"token": piece, "logprob": math.log(probability)}]}))
    assert answer.confidence == pytest.approx(0.5)


def test_of_an_endless_answer_its_length_is_kept() -> None:
    answer = StreamedAnswer(SERVER, 10)
    for _ in range(1000):
        answer.add(chunk("abcdefg"))
    assert (answer.whole(), len(answer.rest())) == ("abcdefgabc", 0)


def test_the_confidence_is_the_geometric_mean_of_the_tokens_probabilities() -> None:
    answer = streamed()
    for probability in (0.9, 0.4):
        answer.add(chunk("x", logprobs={"content": [{"token": "x", "logprob": math.log(probability)}]}))
    answer.add(chunk(finish="stop", logprobs=None))
    assert answer.confidence == pytest.approx(math.sqrt(0.9 * 0.4))


def test_thinking_aloud_is_no_answer() -> None:
    answer = streamed()
    assert answer.add({"choices": [{"delta": {"reasoning_content": "Hmm"}, "finish_reason": None}]}) == ""
    answer.add(chunk(finish="length"))
    with pytest.raises(NoAnswer, match="thinking"):
        answer.whole()
    answer.add(chunk("left"))
    assert answer.whole() == "left"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "content", "logprobs", "logprob", "usage", "prompt_tokens"]), inner
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["choices", "usage"]), JSON), JSON, JSON, JSON)
def test_whatever_a_server_sends_is_taken_as_far_as_it_makes_sense(
    odd: dict[str, Any], choices: Any, logprobs: Any, logprob: Any
) -> None:
    answer = streamed()
    for sent in (
        odd,
        {"choices": [choices]},
        chunk("left", logprobs=logprobs),
        chunk("", logprobs={"content": [{"logprob": logprob}, {"logprob": 10**400}]}),
    ):
        with suppress(Unparsable):
            answer.add(sent)
    assert "left" in answer.message.content
    assert math.isnan(answer.confidence) or 0.0 <= answer.confidence <= 1.0

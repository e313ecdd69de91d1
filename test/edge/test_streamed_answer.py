# SPDX-License-Identifier: Apache-2.0
import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.edge.streamed_answer import StreamedAnswer, events

WORDS = "左边 l'œuf\u2028\x85\x0c🙂"  # with characters that str.splitlines takes for the end of a line


def chunk(content: object = None, finish: object = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish, **fields}]}


def cut(body: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted({position % len(body) for position in at}), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(st.integers(0, 10_000), max_size=40), st.sampled_from(["\n\n", "\r\n\r\n"]))
def test_the_events_do_not_depend_on_where_the_network_cuts_them(at: list[int], end: str) -> None:
    sent = [json.dumps({"text": WORDS, "n": n}, ensure_ascii=False) for n in range(3)]
    body = end.join([": a comment", "event: message", *(f"data: {data}" for data in sent), "data:[DONE]", ""]).encode()
    assert list(events(cut(body, at))) == [*sent, "[DONE]"]


def test_an_event_that_is_cut_off_is_none() -> None:
    assert list(events([b'data: {"a": 1}\n\ndata: {"b"'])) == ['{"a": 1}']


def test_the_text_grows_piece_by_piece() -> None:
    answer = StreamedAnswer()
    assert [answer.add(chunk(piece)) for piece in (None, "", " on the", " left\n")] == ["", "", " on the", " left\n"]
    assert answer.text == "on the left"
    assert not answer.finished
    answer.add(chunk(finish="stop"))
    assert answer.finished


def test_the_confidence_is_the_geometric_mean_of_the_tokens_probabilities() -> None:
    answer = StreamedAnswer()
    for probability in (0.9, 0.4):
        answer.add(chunk("x", logprobs={"content": [{"token": "x", "logprob": math.log(probability)}]}))
    answer.add(chunk(finish="stop", logprobs=None))
    assert answer.confidence == pytest.approx(math.sqrt(0.9 * 0.4))


def test_the_usage_comes_with_any_chunk_and_says_what_was_cached() -> None:
    answer = StreamedAnswer()
    usage = {"prompt_tokens": 150, "prompt_tokens_details": {"cached_tokens": 90}}
    answer.add({"choices": [], "usage": usage})
    answer.add(chunk(finish="stop") | {"usage": None})
    assert (answer.prompt_tokens, answer.reused_tokens) == (150, 90)


def test_thinking_aloud_is_no_answer() -> None:
    answer = StreamedAnswer()
    assert answer.add({"choices": [{"delta": {"reasoning_content": "Hmm"}, "finish_reason": None}]}) == ""
    answer.add(chunk(finish="length"))
    assert answer.only_thoughts
    answer.add(chunk("left"))
    assert not answer.only_thoughts


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
    answer = StreamedAnswer()
    for sent in (
        odd,
        {"choices": [choices]},
        chunk("left", logprobs=logprobs),
        chunk("", logprobs={"content": [{"logprob": logprob}, {"logprob": 10**400}]}),
    ):
        answer.add(sent)
    assert answer.text.endswith("left")
    assert math.isnan(answer.confidence) or 0.0 <= answer.confidence <= 1.0

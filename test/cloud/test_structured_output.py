# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from edgevlm_ros.cloud.structured_output import StructuredOutput

NAMED = 'HTTP 400: {"error": "response_format of type json_schema is not supported with this model"}'


@pytest.mark.parametrize(("mode", "asks"), [("auto", True), ("on", True), ("off", False)])
def test_it_is_asked_for_unless_it_is_off(mode: str, asks: bool) -> None:
    assert StructuredOutput(mode).asks is asks  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        NAMED,
        "litellm.UnsupportedParamsError: does not support parameters: ['response_format']",
        "Failed to initialize grammar",
        "This model does not support structured outputs",
    ],
)
def test_a_refusal_that_names_it_is_tried_without_and_remembered(said: str) -> None:
    structured = StructuredOutput()
    assert structured.tries_without(400, said)
    assert "from now on" in structured.went_without(said)
    assert not structured.asks
    assert structured.words.startswith("off: the server refuses it")


def test_a_bare_refusal_is_tried_without_only_once() -> None:
    structured = StructuredOutput()
    assert [structured.tries_without(400, "HTTP 400: Bad Request") for _ in range(3)] == [True, False, False]
    assert structured.asks


@pytest.mark.parametrize(("code", "said"), [(401, NAMED), (429, NAMED), (503, NAMED), (500, "HTTP 500: oops")])
def test_what_has_another_cause_is_no_refusal(code: int, said: str) -> None:
    assert not StructuredOutput().tries_without(code, said)


def test_a_bare_refusal_of_a_server_that_kept_to_it_has_another_cause() -> None:
    structured = StructuredOutput()
    structured.came('{"answer": "x"}', True)
    assert structured.words == "asked for, and replies are JSON"
    assert not structured.tries_without(400, "HTTP 400: Bad Request")
    assert structured.tries_without(400, NAMED)


def test_who_insists_hears_of_the_refusal() -> None:
    structured = StructuredOutput("on")
    assert not structured.tries_without(400, NAMED)
    assert structured.came("On the left.", True) == ""
    assert structured.asks


def test_prose_for_a_schema_is_told_once_and_ends_the_asking() -> None:
    structured = StructuredOutput()
    assert "ignores it" in structured.came("I see a cart.", True)
    assert structured.came("I see a cart.", True) == ""
    assert structured.words == "off: the server ignores it"


def test_a_reply_that_was_cut_tells_nothing() -> None:
    structured = StructuredOutput()
    assert structured.came("", False) == ""
    assert structured.asks

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from edgevlm_ros.cloud.failures import Rejected, Server
from edgevlm_ros.cloud.refusals import named_by, without

SERVER = Server("", "base_url", refused="", too_large="", too_many="", thinking="")
REQUEST = {"messages": [], "max_completion_tokens": 256, "temperature": 0, "model": "m"}


def refused(said: str, code: int = 400) -> frozenset[str]:
    return named_by(Rejected(SERVER, code, said), REQUEST)


def test_the_fields_that_a_refusal_names_are_found_wherever_they_stand() -> None:
    extra = {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "x" * 500}]}
    assert refused(json.dumps(extra), 422) == {"max_completion_tokens"}
    assert refused("Unsupported value: 'temperature' does not support 0.") == {"temperature"}
    assert refused("x" * 5000 + " temperature, max_completion_tokens") == {"temperature", "max_completion_tokens"}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (500, "temperature"),
        (401, "temperature"),
        (400, "model m"),
        (400, "reasoning_effort"),
        (400, ""),
        (400, "'max_tokens' or 'max_completion_tokens' is too large: 256. The maximum context length is 200 tokens"),
    ],
)
def test_what_was_not_refused_is_kept(code: int, said: str) -> None:
    assert refused(said, code) == frozenset()


def test_a_length_is_asked_for_by_its_other_name_before_it_is_left_out() -> None:
    assert without({"max_completion_tokens"}, REQUEST) == {
        "messages": [],
        "max_tokens": 256,
        "temperature": 0,
        "model": "m",
    }
    both = {"max_completion_tokens", "max_tokens", "temperature"}
    assert without(both, REQUEST) == {"messages": [], "model": "m"}

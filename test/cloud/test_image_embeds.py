# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from edgevlm_ros.cloud.features import Features, FeaturesError, quantised, to_bytes
from edgevlm_ros.cloud.guard import Refused, checked
from edgevlm_ros.cloud.image_embeds import asked, part, read_part
from edgevlm_ros.cloud.prompt import chat_request

DATA = to_bytes(Features((quantised(np.ones((3, 4), np.float32)),), np.arange(3, dtype=np.int16), 3, 64, 48, bytes(16)))


def request(**more: Any) -> dict[str, Any]:
    return chat_request(system="Be short.", question="Where?", jpeg=b"", features=DATA, max_tokens=9) | more


def test_the_bridge_s_request_is_read_back() -> None:
    read = asked(request())
    assert read is not None
    assert (read.system, read.question, read.max_tokens, read.features.tokens) == ("Be short.", "Where?", 9, 3)


def test_a_request_without_features_is_somebody_else_s() -> None:
    assert asked(chat_request(system="", question="?", jpeg=b"jpeg")) is None
    assert asked(chat_request(system="", question="?", jpeg=None)) is None


def test_what_cannot_be_served_with_features_is_refused_in_words() -> None:
    with pytest.raises(FeaturesError, match="not streamed"):
        asked(request(stream=True))
    twice = request()
    twice["messages"][1]["content"].append(part(DATA))
    with pytest.raises(FeaturesError, match="one view"):
        asked(twice)
    turns = request()
    turns["messages"] *= 2
    with pytest.raises(FeaturesError, match="one view"):
        asked(turns)


@pytest.mark.parametrize(
    "value", [None, 3, "§", "AAAA", base64.b64encode(b"\x80\x04pickle").decode(), "A" * (12 << 20)]
)
def test_the_guard_lets_no_other_bytes_through(value: object) -> None:
    bad = {"type": "image_embeds", "image_embeds": value}
    with pytest.raises(FeaturesError, match=r"."):
        read_part(bad)
    body = request()
    body["messages"][1]["content"][0] = bad
    with pytest.raises(Refused) as refused:
        checked(json.dumps(body).encode())
    assert refused.value.status == 400
    assert checked(json.dumps(request()).encode()) == request()

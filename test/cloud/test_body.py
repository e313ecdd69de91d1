# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import codecs
import gzip

import pytest

from edgevlm_ros.cloud.body import BodyText
from edgevlm_ros.cloud.failures import Unparsable

WORDS = '{"answer": "左边 🙂"}'
BODIES = {
    "UTF-8": WORDS.encode(),
    "with a mark": codecs.BOM_UTF8 + WORDS.encode(),
    "UTF-16": WORDS.encode("utf-16"),
    "UTF-16 LE": WORDS.encode("utf-16-le"),
    "UTF-32": WORDS.encode("utf-32"),
    "gzip": gzip.compress(WORDS.encode()),
    "gzip of UTF-16": gzip.compress(WORDS.encode("utf-16")),
}


def read(data: bytes, size: int, limit: int = 1000) -> str:
    body = BodyText(limit)
    pieces = [body.add(data[at : at + size]) for at in range(0, len(data), size)]
    return "".join(pieces) + body.add(b"", last=True)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("data", BODIES.values(), ids=BODIES)
def test_the_text_is_read_however_it_is_encoded_and_cut(data: bytes, size: int) -> None:
    assert read(data, size) == WORDS


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b"\x1f", b"ok\n"])
def test_short_bodies_are_read_too(data: bytes) -> None:
    assert read(data, 1) == data.decode()


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert read(b"left \xff", 3) == "left \ufffd"


@pytest.mark.parametrize("data", [b" " * 1001, gzip.compress(b" " * 1001), gzip.compress(b"{}") + b"x" * 1001])
def test_a_body_that_is_longer_than_its_limit_is_refused(data: bytes) -> None:
    with pytest.raises(Unparsable, match="longer than 1000 bytes"):
        read(data, 100)


def test_what_begins_as_gzip_and_is_none_is_refused() -> None:
    with pytest.raises(Unparsable, match="gzip"):
        read(b"\x1f\x8bno such method", 3)

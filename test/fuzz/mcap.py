# SPDX-License-Identifier: Apache-2.0
"""MCAP files byte by byte, so that an input can be any part of one: https://mcap.dev/spec."""

from __future__ import annotations

import struct

_MAGIC = b"\x89MCAP0\r\n"


def mcap(kind: str, definition: bytes, message: bytes, encoding: str = "ros2msg") -> bytes:
    """A file with one message of a type that only it knows; no index, no checksum."""
    header = _record(0x01, _text(b"ros2") + _text(b""))
    schema = _record(0x03, struct.pack("<H", 1) + _text(kind.encode()) + _text(encoding.encode()) + _text(definition))
    channel = _record(0x04, struct.pack("<HH", 1, 1) + _text(b"/it") + _text(b"cdr") + _text(b""))
    one = _record(0x05, struct.pack("<HIQQ", 1, 0, 10**9, 10**9) + message)
    end, footer = _record(0x0F, bytes(4)), _record(0x02, bytes(20))
    return _MAGIC + header + schema + channel + one + end + footer + _MAGIC


def _record(code: int, body: bytes) -> bytes:
    return struct.pack("<BQ", code, len(body)) + body


def _text(words: bytes) -> bytes:
    return struct.pack("<I", len(words)) + words

# SPDX-License-Identifier: Apache-2.0
"""MCAP files byte by byte, so that an input can be any part of one: https://mcap.dev/spec."""

from __future__ import annotations

import struct

_MAGIC = b"\x89MCAP0\r\n"


def mcap(kind: str, definition: bytes, message: bytes, encoding: str = "ros2msg") -> bytes:
    """A file with one message of a type that only it knows; no index, no checksum."""
    return mcap_of(channel(1, "/it", kind, definition, encoding) + record_of(1, 10**9, message))


def mcap_of(records: bytes, profile: str = "ros2", closed: bool = True) -> bytes:
    """A file with these records, without an index."""
    header = _record(0x01, _text(profile.encode()) + _text(b""))
    end = _record(0x0F, bytes(4)) + _record(0x02, bytes(20)) + _MAGIC
    return _MAGIC + header + records + (end if closed else b"")


def channel(number: int, topic: str, kind: str, definition: bytes, schema: str, message: str = "cdr") -> bytes:
    """A schema and a channel of this number. schema, message: their encodings."""
    key = struct.pack("<H", number)
    told = key + _text(kind.encode()) + _text(schema.encode()) + _text(definition)
    return _record(0x03, told) + _record(0x04, key + key + _text(topic.encode()) + _text(message.encode()) + _text(b""))


def record_of(number: int, stamp: int, message: bytes) -> bytes:
    """A message of the channel of this number."""
    return _record(0x05, struct.pack("<HIQQ", number, 0, stamp, stamp) + message)


def chunk(packed: bytes, size: int, compression: str = "zstd", begin: int = 0, end: int = 10**10) -> bytes:
    """size: of what the packed records unpack to, as the chunk tells it."""
    head = struct.pack("<QQQI", begin, end, size, 0) + _text(compression.encode())
    return _record(0x06, head + struct.pack("<Q", len(packed)) + packed)


def _record(code: int, body: bytes) -> bytes:
    return struct.pack("<BQ", code, len(body)) + body


def _text(words: bytes) -> bytes:
    return struct.pack("<I", len(words)) + words

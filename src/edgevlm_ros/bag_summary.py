# SPDX-License-Identifier: Apache-2.0
"""The topics of a lone .mcap or .db3 file, with the standard library alone, for launch files: see bag_metadata.

An MCAP that was closed tells them in the summary at its end (https://mcap.dev/spec).
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

FileTopic = tuple[str, str, str, int]
"""Name, type, serialization and number of messages."""

SUFFIXES = (".mcap", ".db3")

_MAGIC = b"\x89MCAP0\r\n"
_RECORD = struct.Struct("<BQ")  # opcode, length
_FOOTER = struct.Struct("<QQI")  # where the summary begins, where its offsets do, its CRC
_COUNTS_AT = 42  # of Statistics, after its totals and times
_SCHEMA, _CHANNEL, _STATISTICS = 0x03, 0x04, 0x0B
_MOST_BYTES = 64 << 20


def topics_of_file(file: Path) -> list[FileTopic]:
    """Raises OSError or ValueError for a file that does not tell them."""
    try:
        return _of_mcap(file) if file.suffix == ".mcap" else _of_sqlite(file)
    except (struct.error, sqlite3.Error) as error:
        raise ValueError(f"it is damaged: {error}") from error


def _of_mcap(path: Path) -> list[FileTopic]:
    summary = _summary(path)
    schemas: dict[int, str] = {}
    channels: dict[int, tuple[int, str, str]] = {}
    counts: dict[int, int] = {}
    for opcode, content in _records(summary):
        if opcode == _SCHEMA:
            schemas[struct.unpack_from("<H", content)[0]] = _text(content, 2)[0]
        elif opcode == _CHANNEL:
            number, schema = struct.unpack_from("<HH", content)
            topic, after = _text(content, 4)
            channels[number] = schema, topic, _text(content, after)[0]
        elif opcode == _STATISTICS:
            (size,) = struct.unpack_from("<I", content, _COUNTS_AT)
            counts.update(struct.iter_unpack("<HQ", content[_COUNTS_AT + 4 : _COUNTS_AT + 4 + size]))
    topics: dict[tuple[str, str, str], int] = {}
    for number, (schema, topic, encoding) in channels.items():  # one topic may have several channels
        key = topic, schemas.get(schema, ""), encoding
        topics[key] = topics.get(key, 0) + counts.get(number, 0)
    return [(*key, count) for key, count in topics.items()]


def _summary(path: Path) -> bytes:
    with path.open("rb") as file:
        end = file.seek(0, 2) - len(_MAGIC) - _FOOTER.size
        file.seek(max(0, end))
        footer = file.read()
        start = _FOOTER.unpack_from(footer)[0] if footer.endswith(_MAGIC) else 0
        if not 0 < start <= end:
            raise ValueError("its end is missing, where its topics stand: it was never closed")
        if end - start > _MOST_BYTES:
            raise ValueError(f"its summary has {end - start} bytes")
        file.seek(start)
        return file.read(end - start)


def _records(summary: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _RECORD.size <= len(summary):
        opcode, length = _RECORD.unpack_from(summary, at)
        at += _RECORD.size
        yield opcode, summary[at : at + length]
        at += length


def _text(content: bytes, at: int) -> tuple[str, int]:
    """A text and the offset behind it."""
    (length,) = struct.unpack_from("<I", content, at)
    return content[at + 4 : at + 4 + length].decode(), at + 4 + length


def _of_sqlite(path: Path) -> list[FileTopic]:
    counted = "(SELECT count(*) FROM messages WHERE messages.topic_id = topics.id)"
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return list(database.execute(f"SELECT name, type, serialization_format, {counted} FROM topics"))

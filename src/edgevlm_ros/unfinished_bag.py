# SPDX-License-Identifier: Apache-2.0
"""Bags that nobody closed: their writer was killed, ran out of disk, or is still at it.

rosbags reads what was closed. Here an MCAP is read up to its last whole chunk, a SQLite file as its last commit left
it, and a metadata.yaml from before the end hides nothing of what came after it. No repair step comes first.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections import Counter
from io import BytesIO
from typing import BinaryIO, NamedTuple

from rosbags.interfaces import Connection
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import ReaderMetadata
from rosbags.rosbag2.reader import DirectoryReader, Reader
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, decompress
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

# https://mcap.dev/spec: a record is an opcode, its length, and that many bytes
_MAGIC = b"\x89MCAP0\r\n"
_RECORD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQI")  # times of the first and the last message, size unpacked, CRC
_CHANNEL_HEAD = struct.Struct("<H")  # its number
_MESSAGE_HEAD = struct.Struct("<HIQ")  # channel, number, time of logging
_HEADER, _CHANNEL, _MESSAGE, _CHUNK_OP, _DATA_END = 0x01, 0x04, 0x05, 0x06, 0x0F


class McapFile(McapReader):
    """An MCAP file, closed or not. unfinished: whether it was not."""

    connections: list[Connection]
    metadata: ReaderMetadata
    unfinished = False

    def open(self) -> None:
        with self.path.open("rb") as file:
            self.unfinished = not _is_closed(file)
        if not self.unfinished:
            super().open()
            return
        self.bio = self.path.open("rb")
        try:
            self._open_unfinished(self.bio)
        except BaseException:
            self.close()
            raise

    def _open_unfinished(self, file: BinaryIO) -> None:
        size = file.seek(0, 2)
        file.seek(0)
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ReaderError("It is no MCAP file, or ends before its first byte.")
        self.data_start = self.data_end = len(_MAGIC)
        channels: set[int] = set()
        for record in whole_records(file, len(_MAGIC), size):
            if record.opcode == _CHUNK_OP:
                chunk = _chunk(file, record, channels)
                if chunk is None:
                    break
                self.chunks.append(chunk)
            elif record.opcode == _CHANNEL:
                file.seek(record.content)
                channels.update(_CHANNEL_HEAD.unpack(file.read(_CHANNEL_HEAD.size)))
            elif record.opcode == _HEADER:
                self.data_start = record.end
            self.data_end = record.end
        self.meta_scan()
        assert self.statistics is not None
        told = self.statistics
        self.connections = [c._replace(msgcount=told.channel_message_counts.get(c.id, 0)) for c in self.connections]
        if told.message_count:
            self.metadata = self.metadata._replace(
                duration=told.end_time - told.start_time + 1,
                start_time=told.start_time,
                end_time=told.end_time + 1,
                message_count=told.message_count,
            )


def _is_closed(file: BinaryIO) -> bool:
    size = file.seek(0, 2)
    file.seek(max(0, size - len(_MAGIC)))
    return size > 2 * len(_MAGIC) and file.read() == _MAGIC


class McapRecord(NamedTuple):
    """at, content, end: offsets of its opcode, of what it holds, and of what comes after it."""

    opcode: int
    at: int
    content: int
    end: int


def whole_records(file: BinaryIO, at: int, size: int) -> list[McapRecord]:
    """The records from the offset `at` on, up to where the data end or break off. size: bytes of the file."""
    found = []
    while (content := at + _RECORD.size) <= size:
        file.seek(at)
        opcode, length = _RECORD.unpack(file.read(_RECORD.size))
        if opcode in (0, _DATA_END) or content + length > size:  # 0: a block that never reached the disk
            break
        found.append(McapRecord(opcode, at, content, content + length))
        at = content + length
    return found


def _chunk(file: BinaryIO, record: McapRecord, channels: set[int]) -> ChunkInfo | None:
    """The chunk of this record; None if it is not whole inside. channels: known before it, and then those within it."""
    file.seek(record.content)
    content = BytesIO(file.read(record.end - record.content))
    try:
        first, last, size, crc = _CHUNK.unpack(content.read(_CHUNK.size))
        compression = content.read(*struct.unpack("<I", content.read(4))).decode()
        (packed,) = struct.unpack("<Q", content.read(8))
        inside = BytesIO(decompress(content.read(packed), compression, size, crc))
        records = whole_records(inside, 0, size)
        if (records[-1].end if records else 0) != size:
            return None
        view = inside.getbuffer()
        for one in records:
            if one.opcode == _CHANNEL:
                channels.update(_CHANNEL_HEAD.unpack_from(view, one.content))
        messages = [_MESSAGE_HEAD.unpack_from(view, one.content) for one in records if one.opcode == _MESSAGE]
        # what is empty in the middle never reached the disk
        if not all(channel in channels and first <= time <= last for channel, _, time in messages):
            return None
        counts = Counter(channel for channel, _, _ in messages)
    except Exception:  # whatever a decompressor makes of what is not its own
        return None
    length = record.end - record.at
    return ChunkInfo(first, last, record.at, length, {}, 0, compression, packed, size, dict(counts))


class Sqlite3File(Sqlite3Reader):
    """A SQLite file; what its writer had begun when it was killed is taken back first, as SQLite does."""

    unfinished = False

    def open(self) -> None:
        journal = self.path.parent / f"{self.path.name}-journal"
        if journal.exists():
            self.unfinished = True
            # rosbags opens it as one that nobody writes, and so would not look at the journal
            with contextlib.closing(sqlite3.connect(str(self.path))) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        super().open()


class BagFolder(DirectoryReader):
    """A rosbag2 folder. unfinished: whether there is something else in it than its metadata.yaml tells."""

    STORAGE_PLUGINS = {"mcap": McapFile, "sqlite3": Sqlite3File}  # noqa: RUF012 (as rosbags has it)
    connections: list[Connection]
    metadata: ReaderMetadata
    unfinished = False

    def open(self) -> None:
        super().open()
        told = [storage.metadata for storage in self.storages]
        count = sum(one.message_count for one in told)
        cut = any(getattr(storage, "unfinished", False) for storage in self.storages)
        self.unfinished = cut or count > self.metadata.message_count
        if not self.unfinished:
            return
        counts: Counter[tuple[str, str]] = Counter()
        for connection in (c for storage in self.storages for c in storage.connections):
            counts[connection.topic, connection.msgtype] += connection.msgcount
        self.connections = [c._replace(msgcount=counts[c.topic, c.msgtype]) for c in self.connections]
        start, end = min(one.start_time for one in told), max(one.end_time for one in told)
        self.metadata = self.metadata._replace(
            duration=max(0, end - start), start_time=start, end_time=end, message_count=count
        )


class AnyReader(Reader):
    """A rosbag2 folder, an .mcap or a .db3 file, closed or not."""

    STORAGE_PLUGINS = {"dir": BagFolder, ".mcap": McapFile, ".db3": Sqlite3File}  # noqa: RUF012 (as rosbags has it)

    @property
    def unfinished(self) -> bool:
        """Whether its writer did not close it: it was killed, stopped, or still writes."""
        return bool(getattr(self.storage, "unfinished", False))

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
from typing import BinaryIO

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
_HEADER, _MESSAGE, _CHUNK_OP, _DATA_END = 0x01, 0x05, 0x06, 0x0F


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
        for opcode, at, length in _records(file, len(_MAGIC), size):
            if opcode == _CHUNK_OP:
                chunk = _chunk(file, at, length)
                if chunk is None:
                    break
                self.chunks.append(chunk)
            elif opcode == _HEADER:
                self.data_start = at + _RECORD.size + length
            self.data_end = at + _RECORD.size + length
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


def _records(file: BinaryIO, at: int, size: int) -> list[tuple[int, int, int]]:
    """(opcode, offset, length of its content) of the whole records from `at`, up to where the data end or break off."""
    found = []
    while at + _RECORD.size <= size:
        file.seek(at)
        opcode, length = _RECORD.unpack(file.read(_RECORD.size))
        if opcode in (0, _DATA_END) or at + _RECORD.size + length > size:  # 0: a block that never reached the disk
            break
        found.append((opcode, at, length))
        at += _RECORD.size + length
    return found


def _chunk(file: BinaryIO, at: int, length: int) -> ChunkInfo | None:
    """The chunk at this offset; None if it is not whole inside."""
    file.seek(at + _RECORD.size)
    content = BytesIO(file.read(length))
    try:
        first, last, size, crc = _CHUNK.unpack(content.read(_CHUNK.size))
        compression = content.read(*struct.unpack("<I", content.read(4))).decode()
        (packed,) = struct.unpack("<Q", content.read(8))
        inside = BytesIO(decompress(content.read(packed), compression, size, crc))
        records = _records(inside, 0, size)
        if sum(_RECORD.size + length for _, _, length in records) != size:
            return None
        counts = Counter(
            struct.unpack_from("<H", inside.getbuffer(), start + _RECORD.size)[0]
            for opcode, start, _ in records
            if opcode == _MESSAGE
        )
    except Exception:  # whatever a decompressor makes of what is not its own
        return None
    return ChunkInfo(first, last, at, _RECORD.size + length, {}, 0, compression, packed, size, dict(counts))


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

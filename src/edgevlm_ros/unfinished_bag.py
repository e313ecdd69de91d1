# SPDX-License-Identifier: Apache-2.0
"""Bags that nobody closed: their writer was killed, ran out of disk, or is still at it.

rosbags reads what was closed. Here an MCAP is read up to its last whole chunk, a SQLite file as its last commit left
it, and a metadata.yaml from before the end hides nothing of what came after it. No repair step comes first. A file that
is gone, and topics that are not in CDR, are left out and named.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple

import apsw
from rosbags.interfaces import Connection
from rosbags.rosbag2 import storage_mcap
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import ReaderMetadata
from rosbags.rosbag2.reader import Reader
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, Schema, decompress
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

from edgevlm_ros.bag_metadata import read_metadata
from edgevlm_ros.unpacking import TooLargeError, check, most, unpack_files, unzstd
from edgevlm_ros.words import in_one_line

# https://mcap.dev/spec: a record is an opcode, its length, and that many bytes
_DEFINITIONS = ("ros2msg", "ros2idl", "omgidl", "")  # encodings of schemas that rosbags reads
_MAGIC = b"\x89MCAP0\r\n"
_RECORD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQI")  # times of the first and the last message, size unpacked, CRC
_FOOTER = struct.Struct("<BQQQI")  # a record whole: start of the summary, of its offsets, CRC
_CHANNEL_HEAD = struct.Struct("<H")  # its number
_MESSAGE_HEAD = struct.Struct("<HIQ")  # channel, number, time of logging
_HEADER, _CHANNEL, _MESSAGE, _CHUNK_OP, _DATA_END = 0x01, 0x04, 0x05, 0x06, 0x0F
_FOOTER_OP = 0x02

Messages = Iterator[tuple[Connection, int, bytes]]


def _read_text(file: BinaryIO) -> str:
    return storage_mcap.read_bytes(file).decode(errors="replace")


storage_mcap.read_string = _read_text  # it would take the schema of a protobuf message for UTF-8


class _Schemas(dict[int, Schema]):
    """Those of an encoding that rosbags does not know (protobuf, jsonschema, rosbag2's "unknown") are kept as none."""

    def __setitem__(self, key: int, schema: Schema) -> None:
        if schema.encoding not in _DEFINITIONS:
            schema = schema._replace(encoding="", data="")
        super().__setitem__(key, schema)


def _serialization(connection: Connection) -> str:
    """Such as cdr, json, protobuf, ros1."""
    return str(getattr(connection.ext, "serialization_format", ""))


class McapFile(McapReader):
    """An MCAP file, closed or not.

    unfinished: whether it was not. left_out: topics that are not in CDR. packed: bytes of the file on the disk.
    """

    connections: list[Connection]
    metadata: ReaderMetadata
    unfinished = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.schemas = _Schemas()
        self.left_out: tuple[str, ...] = ()
        self.packed = path.stat().st_size

    def _open(self) -> None:
        file = self.bio
        assert file is not None
        size = file.seek(0, 2)
        file.seek(0)
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ReaderError("It is no MCAP file, or ends before its first byte.")
        self.data_start = self.data_end = len(_MAGIC)
        summary = _summary_start(file, size)
        self.unfinished = summary is None
        if summary is None:
            self._find_chunks(file, size)
        elif summary:
            self.data_end = summary
            self.read_index()
        else:
            self.data_end = size - _FOOTER.size - len(_MAGIC)
        if self.statistics is None or not self.schemas:
            self.meta_scan()
        assert self.statistics is not None
        told = self.statistics
        counted = [c._replace(msgcount=told.channel_message_counts.get(c.id, 0)) for c in self.connections]
        self.connections = [c for c in counted if _serialization(c) == "cdr"]
        left_out = [c for c in counted if c not in self.connections]
        if left_out and not self.connections and all(_serialization(c) == "ros1" for c in left_out):
            raise ReaderError(ros1_advice(self.path.with_suffix(".bag")))
        self.left_out = tuple(f"{c.topic} is in {_serialization(c) or 'no known format'}" for c in left_out)
        count = sum(c.msgcount for c in self.connections)
        if count:
            self.metadata = self.metadata._replace(
                duration=told.end_time - told.start_time + 1,
                start_time=told.start_time,
                end_time=told.end_time + 1,
                message_count=count,
            )

    def _find_chunks(self, file: BinaryIO, size: int) -> None:
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

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Messages:
        check(self.path.name, _most_at_once(self.chunks), self.packed)
        yield from super().messages(connections, start, stop)


def ros1_advice(bag: Path) -> str:
    return f"a ROS 1 bag; convert it: rosbags-convert --src {bag} --dst FOLDER"


def _most_at_once(chunks: Collection[ChunkInfo]) -> int:
    """Bytes that are unpacked while messages are put in order: chunks whose times overlap are all open at once."""
    begin = [(chunk.message_start_time, 0, chunk.uncompressed_size) for chunk in chunks if chunk.compression]
    end = [(chunk.message_end_time, 1, -chunk.uncompressed_size) for chunk in chunks if chunk.compression]
    open_bytes = most = 0
    for _, _, size in sorted(begin + end):
        open_bytes += size
        most = max(most, open_bytes)
    return most


def _summary_start(file: BinaryIO, size: int) -> int | None:
    """Offset of the summary, 0 if there is none; None in a file that was not closed."""
    at = size - _FOOTER.size - len(_MAGIC)
    if at < len(_MAGIC):
        return None
    file.seek(at)
    opcode, length, summary, _, _ = _FOOTER.unpack(file.read(_FOOTER.size))
    closed = (opcode, length) == (_FOOTER_OP, _FOOTER.size - _RECORD.size) and file.read() == _MAGIC and summary <= at
    return summary if closed else None


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
    except TooLargeError:
        raise
    except Exception:  # whatever a decompressor makes of what is not its own
        return None
    length = record.end - record.at
    return ChunkInfo(first, last, record.at, length, {}, 0, compression, packed, size, dict(counts))


class Sqlite3File(Sqlite3Reader):
    """A SQLite file; what its writer had begun when it was killed is taken back first, as SQLite does.

    left_out: topics that are not in CDR. packed: bytes of the file on the disk.
    """

    connections: list[Connection]
    metadata: ReaderMetadata
    unfinished = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.left_out: tuple[str, ...] = ()
        self.packed = path.stat().st_size

    def open(self) -> None:
        journal = self.path.parent / f"{self.path.name}-journal"
        if journal.exists():
            self.unfinished = True
            # rosbags opens it as one that nobody writes, and so would not look at the journal
            with contextlib.closing(sqlite3.connect(str(self.path))) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        apsw.connection_hooks.append(_hide_unknown_definitions)
        try:
            super().open()
        finally:
            apsw.connection_hooks.remove(_hide_unknown_definitions)
        assert self.dbconn is not None
        self.dbconn.limit(apsw.SQLITE_LIMIT_LENGTH, min(most(self.packed), 2**31 - 1))
        foreign = [c for c in self.connections if _serialization(c) != "cdr"]
        self.left_out = tuple(f"{c.topic} is in {_serialization(c) or 'no known format'}" for c in foreign)
        self.connections = [c for c in self.connections if c not in foreign]


def _hide_unknown_definitions(connection: apsw.Connection) -> None:
    """Those of an encoding that rosbags does not know: rosbag2 writes "unknown" where it finds no definition."""
    if connection.execute("PRAGMA table_info(message_definitions)").fetchall():
        connection.execute(
            "CREATE TEMP VIEW message_definitions AS "
            "SELECT * FROM main.message_definitions WHERE encoding IN ('ros2msg', 'ros2idl')"
        )


class BagFolder:
    """A rosbag2 folder: what is in the files that its metadata.yaml names, whatever else that tells of them.

    unfinished: whether there is more in them than it tells. left_out: files that are missing or cannot be opened, and
    topics that are not in CDR.
    """

    STORAGES: dict[str, type[McapFile] | type[Sqlite3File]] = {"mcap": McapFile, "sqlite3": Sqlite3File}  # noqa: RUF012

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: list[Connection] = []
        self.metadata = ReaderMetadata(0, 2**63 - 1, 0, 0, None, None, None, None)
        self.unfinished = False
        self.left_out: tuple[str, ...] = ()
        self._storages: list[McapFile | Sqlite3File] = []
        self._opened = contextlib.ExitStack()

    def open(self) -> None:
        try:
            told = read_metadata(self.path)
            files = [self.path / PurePath(name).name for name in told["relative_file_paths"]]
            storage_type = self.STORAGES[told["storage_identifier"]]
            mode, format = (str(told.get(f"compression_{what}") or "none").lower() for what in ("mode", "format"))
            expected = int(told["message_count"])
        except Exception as error:  # whatever may stand in it
            raise ReaderError(
                f"its metadata.yaml is damaged ({in_one_line(error)}): ros2 bag reindex {self.path}"
            ) from error
        if mode != "none" and format != "zstd":
            raise ReaderError(f"its compression format, {format!r}, is not zstd")
        with contextlib.ExitStack() as opened:
            self._open_files(files, storage_type, mode == "file", opened)
            self._opened = opened.pop_all()
        self.connections = [c for storage in self._storages for c in storage.connections]
        whole = [storage.metadata for storage in self._storages]
        count = sum(one.message_count for one in whole)
        cut = any(storage.unfinished for storage in self._storages)
        self.unfinished = cut or count > expected
        start, end = min(one.start_time for one in whole), max(one.end_time for one in whole)
        self.metadata = ReaderMetadata(max(0, end - start), start, end, count, format, mode, None, None)

    def _open_files(
        self,
        files: list[Path],
        storage_type: type[McapFile] | type[Sqlite3File],
        packed: bool,
        opened: contextlib.ExitStack,
    ) -> None:
        """Those that can be opened; raises what was wrong with the first if none can."""
        missing = [file for file in files if not file.exists()]
        there = [file for file in files if file not in missing]
        left_out = [f"{file.name} is missing" for file in missing]
        if not there:
            raise ReaderError(
                f"none of its files is there: {', '.join(file.name for file in files) or 'none is named'}"
            )
        unpacked = there
        if packed:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="edgevlm-bag-"))
            unpacked = unpack_files(there, Path(folder))
        errors: list[Exception] = []
        for file, source in zip(unpacked, there, strict=True):
            try:
                storage = storage_type(file)
                storage.packed = source.stat().st_size
                storage.open()
            except Exception as error:
                errors.append(error)
                left_out.append(f"{source.name} cannot be read ({in_one_line(error)})")
                continue
            opened.callback(storage.close)
            self._storages.append(storage)
            left_out += storage.left_out
        if not self._storages:
            raise errors[0]
        self.left_out = tuple(dict.fromkeys(left_out))

    def close(self) -> None:
        self._storages.clear()
        self._opened.close()

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Messages:
        for storage in self._storages:
            chosen = [c for c in connections if c.owner is storage]
            for connection, stamp, data in storage.messages(chosen, start, stop) if chosen else ():
                yield connection, stamp, unzstd(data) if self.metadata.compression_mode == "message" else data


class AnyReader(Reader):
    """A rosbag2 folder, an .mcap or a .db3 file, closed or not."""

    STORAGE_PLUGINS = {"dir": BagFolder, ".mcap": McapFile, ".db3": Sqlite3File}  # noqa: RUF012 (as rosbags has it)
    storage: McapFile | Sqlite3File | BagFolder

    @property
    def unfinished(self) -> bool:
        """Whether its writer did not close it: it was killed, stopped, or still writes."""
        return self.storage.unfinished

    @property
    def left_out(self) -> tuple[str, ...]:
        """What of it cannot be read, for people."""
        return self.storage.left_out

# SPDX-License-Identifier: Apache-2.0
"""rosbag2 folders, read and written without a ROS installation.

Messages stay what the bag has, serialised CDR, until someone asks for more: the player hands them to rclpy, the
evaluation to rosbags, the recorder writes what came over the wire. What is wrong with a bag is said in a BagError.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from rosbags.interfaces import (
    MessageDefinitionFormat,
    Nodetype,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from edgevlm_ros.assets import share_dir
from edgevlm_ros.bag_metadata import IMAGE_TYPES, likeliest_camera
from edgevlm_ros.unfinished_bag import AnyReader

STORAGES = ("mcap", "sqlite3")
_MOST_FIELDS = 1000
"""Of a type that a bag brings along, for its messages to be read: rosbags writes code for each text or message of a
fixed array, so 35 bytes of definition could take all memory."""


class BagError(Exception):
    """A bag that cannot be read or written; the message says which, why, and what to do."""


class BagDiskError(BagError):
    """A bag that the disk does not take: it is full, read-only, gone, or not ours."""


@dataclass(frozen=True, slots=True)
class Topic:
    """latched: offered as transient local, so that late subscribers get its last message."""

    name: str
    type: str
    count: int
    latched: bool


class Record(NamedTuple):
    """One message. stamp: when it was recorded, nanoseconds, the bag's clock. data: its CDR bytes, header included."""

    topic: str
    type: str
    stamp: int
    data: bytes


@functools.cache
def typestore() -> Typestore:
    """The types of ROS 2 Jazzy and those of edgevlm_msgs."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for file in _message_files():
        types.update(get_types_from_msg(file.read_text(), f"edgevlm_msgs/msg/{file.stem}"))
    store.register(types)
    return store


def new_typestore() -> Typestore:
    """One with the same types, to which others can be added. Parsing them all again would take 30 ms."""
    store = Typestore()
    store.types.update(typestore().types)
    store.fielddefs.update(typestore().fielddefs)
    return store


def _message_files() -> list[Path]:
    folder = share_dir() / "src" / "edgevlm_msgs" / "msg"
    if not folder.is_dir():
        from ament_index_python.packages import get_package_share_directory

        folder = Path(get_package_share_directory("edgevlm_msgs")) / "msg"
    return sorted(folder.glob("*.msg"))


class BagReader:
    """A rosbag2 folder (or one .mcap or .db3 file), open while the context lasts."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._store = typestore()
        self._small: set[str] = set()  # of its own types, those that may be read
        self._reader: AnyReader | None = None

    def __enter__(self) -> BagReader:
        self._check_path()
        try:
            self._reader = AnyReader(self.path)
            self._reader.open()
            self._check_metadata()
            self._register_own_types()
        except Exception as error:  # a damaged file can make the reader raise anything
            self._reader = None
            raise BagError(f"bag {self.path}: cannot be read: {_reason(error)}") from error
        return self

    def _check_path(self) -> None:
        if not self.path.exists():
            raise BagError(f"bag {self.path}: no such file or folder")
        if self.path.is_file() and self.path.suffix == ".bag":
            raise BagError(f"bag {self.path}: a ROS 1 bag; convert it: rosbags-convert --src {self.path} --dst FOLDER")
        if self.path.is_file() and self.path.suffix not in (".mcap", ".db3"):
            raise BagError(f"bag {self.path}: not a rosbag2 (a folder with a metadata.yaml, a .mcap or a .db3 file)")
        if self.path.is_dir() and not (self.path / "metadata.yaml").is_file():
            parts = sorted([*self.path.glob("*.mcap"), *self.path.glob("*.db3")])
            advice = f"; name {parts[0]} itself, or: ros2 bag reindex {self.path}" if parts else ""
            raise BagError(f"bag {self.path}: the folder has no metadata.yaml, so it is no rosbag2{advice}")

    def _check_metadata(self) -> None:
        """The reader takes a metadata.yaml's values as they are."""
        for c in self._open.connections:
            if not (isinstance(c.topic, str) and isinstance(c.msgtype, str)):
                raise BagError("a topic's name or type is no text")
            if not isinstance(c.msgcount, int):
                raise BagError(f"its metadata says that {c.topic} has {c.msgcount} messages, which is no number")
        if not all(isinstance(number, int) for number in (self.start, self.end, self.message_count)):
            raise BagError("its metadata has a time or a count that is no number")

    def _register_own_types(self) -> None:
        """Let the bag's own definitions serve for types that nobody else has."""
        definitions: dict[str, str] = {
            c.msgtype: c.msgdef.data
            for c in self._open.connections
            if c.msgtype not in self._store.fielddefs and c.msgdef.format is MessageDefinitionFormat.MSG
        }
        if definitions:
            self._store = new_typestore()
            for name, definition in definitions.items():
                types = get_types_from_msg(definition, name)
                self._store.register({name: t for name, t in types.items() if name not in self._store.fielddefs})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @property
    def _open(self) -> AnyReader:
        if self._reader is None:
            raise BagError(f"bag {self.path}: not open")
        return self._reader

    @property
    def topics(self) -> dict[str, Topic]:
        topics: dict[str, Topic] = {}
        for c in self._open.connections:
            latched = any(
                q.durability is QosDurability.TRANSIENT_LOCAL for q in getattr(c.ext, "offered_qos_profiles", ())
            )
            before = topics.get(c.topic, Topic(c.topic, c.msgtype, 0, False))
            topics[c.topic] = replace(before, count=before.count + c.msgcount, latched=before.latched or latched)
        return topics

    @property
    def start(self) -> int:
        """Stamp of the first message, nanoseconds; 0 in an empty bag."""
        return self._open.start_time if self._open.message_count else 0

    @property
    def end(self) -> int:
        """Stamp of the last message, nanoseconds."""
        return self._open.end_time - 1 if self._open.message_count else 0

    @property
    def message_count(self) -> int:
        return self._open.message_count

    @property
    def unfinished(self) -> bool:
        """Whether its writer did not close it: it was killed, ran out of disk, or still writes."""
        return self._open.unfinished

    def image_topic(self, wanted: str = "") -> Topic:
        """The topic named, if it has images; without a name the likeliest camera: colour, then JPEG, then many."""
        images = [t for t in self.topics.values() if t.type in IMAGE_TYPES and t.count]
        if wanted:
            images = [t for t in images if t.name.strip("/") == wanted.strip("/")]
        if not images:
            there = ", ".join(f"{t.name} ({t.type}, {t.count})" for t in self.topics.values()) or "no topics at all"
            raise BagError(f"bag {self.path}: no images{f' on {wanted}' if wanted else ''}; it has {there}")
        return self.topics[likeliest_camera((t.name, t.type, t.count) for t in images)]

    def records(
        self,
        topics: Collection[str] | None = None,
        types: Collection[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[Record]:
        """Messages in the order of their stamps, start <= stamp < stop; None asks for all."""
        chosen = [
            c
            for c in self._open.connections
            if (topics is None or c.topic in topics) and (types is None or c.msgtype in types)
        ]
        if not chosen:
            return
        read, stamp = 0, self.start
        try:
            for connection, stamp, data in self._open.messages(chosen, start, stop):
                read += 1
                yield Record(connection.topic, connection.msgtype, stamp, data)
        except Exception as error:
            seconds = (stamp - self.start) / 1e9
            raise BagError(
                f"bag {self.path}: damaged after {read} messages ({seconds:.1f} s): {_reason(error)}"
            ) from error

    def deserialize(self, record: Record) -> Any:
        """The message as a rosbags object, with the fields of the ROS message."""
        if record.type not in self._store.fielddefs:
            raise BagError(f"bag {self.path}: the type {record.type} of {record.topic} is not known here")
        if record.type not in typestore().fielddefs and record.type not in self._small:
            try:
                _check_size(self._store.fielddefs, record.type)
            except BagError as error:
                raise BagError(f"bag {self.path}: {record.topic} cannot be read: {error}") from None
            self._small.add(record.type)
        try:
            return self._store.deserialize_cdr(record.data, record.type)
        except Exception as error:
            raise BagError(f"bag {self.path}: a damaged {record.type} on {record.topic}: {_reason(error)}") from error


class BagWriter:
    """Writes a new rosbag2 folder; it is whole once closed, and can be read up to the last flush before.

    As a context manager, one that fails on the way leaves nothing behind. The metadata are of version 8, which Humble,
    Jazzy and Kilted all read. Raises BagError, of what the disk does BagDiskError.
    """

    def __init__(self, path: str | Path, storage: str = "mcap") -> None:
        if storage not in STORAGES:
            raise BagError(f"storage {storage!r} is unknown; allowed are {', '.join(STORAGES)}")
        self.path = Path(path).expanduser()
        try:
            self._writer = Writer(self.path, version=8, storage_plugin=StoragePlugin[storage.upper()])
            with self._disk():
                self._writer.open()
        except WriterError as error:
            raise BagError(
                f"bag {self.path}: cannot be written: {_reason(error)} Remove it or name another."
            ) from error
        self._connections: dict[str, Any] = {}
        self._flushed = 0  # bytes of an MCAP file that are on the disk, a whole number of chunks

    def add_topic(self, topic: str, type: str, latched: bool = False) -> None:
        """Announce a topic and how it is to be offered again; write does it for topics that are not latched."""
        if topic in self._connections:
            return
        if type not in typestore().fielddefs:
            raise BagError(f"bag {self.path}: cannot write {topic}, its type {type} is not known here")
        with self._disk():
            self._connections[topic] = self._writer.add_connection(
                topic, type, typestore=typestore(), offered_qos_profiles=[_qos(latched)]
            )

    def write(self, topic: str, type: str, stamp: int, data: bytes | memoryview) -> None:
        """Write CDR bytes. stamp: when it was recorded, nanoseconds."""
        if topic not in self._connections:
            self.add_topic(topic, type)
        with self._disk():
            self._writer.write(self._connections[topic], stamp, data)

    def write_message(self, topic: str, message: Any, stamp: int) -> None:
        """Write a rosbags message."""
        self.write(topic, message.__msgtype__, stamp, typestore().serialize_cdr(message, message.__msgtype__))

    def flush(self) -> None:
        """Brings to the disk all that was written: it can be read from now on, whatever becomes of this process."""
        storage = self._writer.storage
        with self._disk():
            if isinstance(storage, Sqlite3Writer):
                storage.conn.commit()
            elif isinstance(storage, McapWriter):
                if storage.chunk.bio.tell():
                    storage.chunk.message_start_time *= bool(storage.chunk.msgs)  # 0 without a message (mcap.dev/spec)
                    storage.close_chunk()
                storage.bio.flush()
                os.fsync(storage.bio.fileno())
                self._flushed = storage.bio.tell()

    def write_metadata(self) -> None:
        """Writes metadata.yaml as of now; `ros2 bag` opens no folder without one."""
        storage = self._writer.storage
        assert storage is not None
        # the library writes it when it closes the storage: it is given one that does not mind
        self._writer.storage = _StaysOpen(storage.path)
        try:
            with self._disk():
                self._writer.close()
        finally:
            self._writer.storage = storage

    def close(self) -> None:
        with self._disk():
            self._writer.close()

    def discard(self) -> None:
        """Give up, and remove what was written."""
        self._writer.abort()
        shutil.rmtree(self.path, ignore_errors=True)

    def abandon(self) -> None:
        """Give up after an error, and keep what was flushed."""
        storage = self._writer.storage
        with contextlib.suppress(OSError, sqlite3.Error):
            self._writer.abort()
        if isinstance(storage, McapWriter):  # half a chunk would be in the way of other readers than ours
            with contextlib.suppress(OSError):
                os.truncate(storage.path, self._flushed)

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise BagDiskError(f"bag {self.path}: cannot be written: {_reason(error)}") from error

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class _StaysOpen:
    """In the place of a storage while the library writes the metadata of it. path: of the storage's file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def close(self, version: int, metadata: str) -> None:
        pass


def _qos(latched: bool) -> Qos:
    never = QosTime(2147483647, 4294967295)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=never,
        lifespan=never,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=never,
        avoid_ros_namespace_conventions=False,
    )


def _check_size(types: Mapping[str, Any], name: str, deeper: int = 32) -> int:
    """The number of fields of a type, with those within its fields; raises BagError if they are too many."""
    if not deeper:
        raise BagError(f"the type {name} is nested too deeply")
    count = 1
    for _, (kind, of) in types[name][1] if name in types else ():
        times = of[1] if kind is Nodetype.ARRAY else 1
        if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            kind, of = of[0]
        if kind is Nodetype.NAME:
            count += times * _check_size(types, of, deeper - 1)
        else:
            count += times if of[0] == "string" else 1
        if count > _MOST_FIELDS:
            raise BagError(f"the type {name} has more than {_MOST_FIELDS} fields")
    return count


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

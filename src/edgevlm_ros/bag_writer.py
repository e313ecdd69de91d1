# SPDX-License-Identifier: Apache-2.0
"""rosbag2 folders, written without a ROS installation, so that what is in them outlives whatever ends the writer.

The recorder writes what came over the wire, serialised; the rest of the package writes messages of rosbags.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

from edgevlm_ros.bag_types import BagError, typestore
from edgevlm_ros.words import in_one_line

STORAGES = ("mcap", "sqlite3")


class BagDiskError(BagError):
    """A bag that the disk does not take: it is full, read-only, gone, or not ours."""


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
                f"bag {self.path}: cannot be written: {in_one_line(error)} Remove it or name another."
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
            raise BagDiskError(f"bag {self.path}: cannot be written: {in_one_line(error)}") from error

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

# SPDX-License-Identifier: Apache-2.0
"""A bag that was never closed is read up to where it breaks off, and never beyond."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from edgevlm_ros.bag_types import BagError, typestore
from edgevlm_ros.bag_writer import STORAGES, BagWriter
from edgevlm_ros.bags import BagReader

STRING = "std_msgs/msg/String"
PART = 5  # messages between two flushes
SECOND = 10**9


def text(number: int) -> bytes:
    return bytes(typestore().serialize_cdr(typestore().types[STRING](f"number {number} " * (number + 1)), STRING))


def flushed(folder: Path, storage: str = "mcap", parts: int = 4) -> list[int]:
    """A bag that is as after kill -9; the size of its file after each flush."""
    writer = BagWriter(folder, storage)
    writer.add_topic("/a", STRING)
    writer.add_topic("/b", STRING)
    writer.write_metadata()
    writer.flush()
    (file,) = [*folder.glob("*.mcap"), *folder.glob("*.db3")]
    sizes = [file.stat().st_size]
    for number in range(parts * PART):
        stamp = (number + 1) * SECOND + 1 if number % 2 else number * SECOND  # not in the order of their stamps
        writer.write("/b" if number % 2 else "/a", STRING, stamp, text(number))
        if number % PART == PART - 1:
            writer.flush()
            sizes.append(file.stat().st_size)
    writer.abandon()
    return sizes


def contents(bag: Path) -> list[bytes]:
    with BagReader(bag) as reader:
        records = list(reader.records())
        assert [record.stamp for record in records] == sorted(record.stamp for record in records)
        assert reader.message_count == len(records) == sum(topic.count for topic in reader.topics.values())
        if records:
            assert (reader.start, reader.end) == (records[0].stamp, records[-1].stamp)
        return sorted((record.data for record in records), key=len)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("lone_file", [False, True])
def test_all_that_was_flushed_is_read_in_the_order_of_its_stamps(tmp_path: Path, storage: str, lone_file: bool) -> None:
    flushed(tmp_path / "bag", storage)
    (file,) = [*(tmp_path / "bag").glob("*.mcap"), *(tmp_path / "bag").glob("*.db3")]
    assert contents(file if lone_file else tmp_path / "bag") == [text(number) for number in range(4 * PART)]


@pytest.mark.parametrize("storage", STORAGES)
def test_metadata_from_before_hide_nothing_of_what_came_after(tmp_path: Path, storage: str) -> None:
    flushed(tmp_path / "bag", storage)
    with BagReader(tmp_path / "bag") as bag:
        assert bag.unfinished
        assert {name: topic.count for name, topic in bag.topics.items()} == {"/a": 10, "/b": 10}
        assert [record.stamp for record in bag.records(topics=["/a"], start=4 * SECOND, stop=9 * SECOND)] == [
            4 * SECOND,
            6 * SECOND,
            8 * SECOND,
        ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1), lost=st.integers(0, 200))
@example(share=0.26171875, lost=78)
def test_a_file_that_breaks_off_anywhere_is_read_up_to_its_last_whole_chunk(
    tmp_path: Path, share: float, lost: int
) -> None:
    shutil.rmtree(tmp_path / "bag", ignore_errors=True)
    sizes = flushed(tmp_path / "bag")
    (file,) = (tmp_path / "bag").glob("*.mcap")
    length = round(share * sizes[-1])
    with file.open("r+b") as out:
        out.truncate(length)
        out.seek(0, 2)
        out.write(bytes(lost))  # blocks that a power cut left empty
    whole = max((parts for parts, size in enumerate(sizes) if size <= length), default=None)
    if whole is None:
        try:
            assert contents(tmp_path / "bag") == []
        except BagError:
            return
    else:
        there = contents(tmp_path / "bag")
        assert there[: whole * PART] == [text(number) for number in range(whole * PART)]
        assert len(there) in (whole * PART, (whole + 1) * PART)  # a chunk may be whole although its index is not


def test_a_chunk_of_which_a_part_never_reached_the_disk_is_left_out(tmp_path: Path) -> None:
    sizes = flushed(tmp_path / "bag")
    (file,) = (tmp_path / "bag").glob("*.mcap")
    with file.open("r+b") as out:
        out.seek(sizes[-2] + (sizes[-1] - sizes[-2]) // 5)
        out.write(bytes(sizes[-1] - out.tell()))
    assert contents(tmp_path / "bag") == [text(number) for number in range(3 * PART)]


def test_a_compressed_file_that_breaks_off_is_read_too(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/a", STRING, typestore=typestore())
        noise = [random.Random(number).randbytes(50_000 + number) for number in range(60)]
        for number, data in enumerate(noise):
            writer.write(connection, number, data)
    (file,) = (tmp_path / "bag").glob("*.mcap")
    os.truncate(file, file.stat().st_size * 9 // 10)
    there = contents(tmp_path / "bag")
    assert 20 < len(there) < 60
    assert there == noise[: len(there)]


def test_what_is_no_mcap_is_told(tmp_path: Path) -> None:
    (tmp_path / "bag.mcap").write_bytes(b"no bag at all")
    with pytest.raises(BagError, match="no MCAP file"), BagReader(tmp_path / "bag.mcap"):
        pass


def test_a_closed_bag_is_not_called_unfinished(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("/a", STRING, 1, text(1))
        writer.flush()
        writer.write("/a", STRING, 2, text(2))
    with BagReader(tmp_path / "bag") as bag:
        assert not bag.unfinished
        assert bag.message_count == 2


BEGUN = """
import os, signal, sys
import apsw
writer = apsw.Connection(sys.argv[1])
writer.execute("BEGIN")
for stamp in range(2, 900):
    writer.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, zeroblob(1000))", (stamp,))
writer.cache_flush()  # as in the middle of a commit: the file has what was not committed, the journal what was before
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_sqlite_had_only_begun_is_taken_back(tmp_path: Path) -> None:
    bag, message = tmp_path / "bag", text(1)
    writer = BagWriter(bag, "sqlite3")
    writer.write("/a", STRING, 1, message)
    writer.write_metadata()
    writer.flush()
    writer.abandon()
    ended = subprocess.run([sys.executable, "-c", BEGUN, str(bag / "bag.db3")])
    assert ended.returncode == -signal.SIGKILL
    assert (bag / "bag.db3-journal").stat().st_size, "it was in the middle of it"
    with BagReader(bag) as reader:
        assert reader.unfinished
        assert [record.stamp for record in reader.records()] == [1]
    assert contents(bag) == [message], "and again"

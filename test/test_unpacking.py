# SPDX-License-Identifier: Apache-2.0
"""What a few bytes unpack to is bounded, and real recordings are within the bound."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import ReaderError

from edgevlm_ros import unpacking
from edgevlm_ros.bag_types import BagError, typestore
from edgevlm_ros.bags import BagReader
from edgevlm_ros.unpacking import TooLargeError, unzstd, zstd
from fuzz.mcap import channel, chunk, mcap_of, record_of
from support import bag_in_limited_memory
from support.disks import can_mount, on_a_disk

STRING = "std_msgs/msg/String"
MEBIBYTES = 500  # the bombs below take 600 and 1500, and more, where nothing bounds them
TEXT = channel(1, "/text", STRING, b"string data\n", "ros2msg")


def packed(before: bytes, zeros: int, told: bool = True) -> bytes:
    """zstd of these bytes and so many zeros, made without having them."""
    compressor = zstd.ZstdCompressor()
    if told:
        compressor.set_pledged_input_size(len(before) + zeros)
    block = bytes(1 << 20)
    parts = [compressor.compress(before), *(compressor.compress(block) for _ in range(zeros >> 20))]
    return b"".join([*parts, compressor.flush()])


def message_head(size: int) -> bytes:
    """Of a message of so many bytes, which are to follow."""
    record = record_of(1, 10**9, b"")
    return record[:1] + (int.from_bytes(record[1:9], "little") + size).to_bytes(8, "little") + record[9:]


def bomb_in_a_chunk(folder: Path, told: int = 0, closed: bool = True) -> Path:
    size = 1500 << 20
    head = message_head(size)
    data = packed(head, size)
    file = folder / "bag.mcap"
    file.write_bytes(mcap_of(TEXT + chunk(data, told or size + len(head)), closed=closed))
    return file


def bomb_of_chunks(folder: Path) -> Path:
    """Each is within the bound, and they are to be in memory together."""
    size = 60 << 20
    head = message_head(size)
    one = chunk(packed(head, size), size + len(head))
    file = folder / "bag.mcap"
    file.write_bytes(mcap_of(TEXT + one * 10, closed=False))
    return file


def message_bag(folder: Path, mode: CompressionMode, messages: list[bytes]) -> Path:
    writer = Writer(folder / "bag", version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/text", STRING, typestore=typestore())
        for stamp, data in enumerate(messages):
            writer.write(connection, stamp, data)
    return folder / "bag"


def bomb_in_a_message(folder: Path) -> Path:
    bag = message_bag(folder, CompressionMode.MESSAGE, [b"x"])
    with contextlib.closing(sqlite3.connect(bag / "bag.db3")) as file, file:
        file.execute("UPDATE messages SET data = ?", (packed(b"", 1500 << 20),))
    return bag


def bomb_of_a_file(folder: Path) -> Path:
    bag = message_bag(folder, CompressionMode.FILE, [b"x"])
    (bag / "bag.db3.zstd").write_bytes(packed(b"SQLite format 3\0", 1500 << 20))
    return bag


BOMBS = {
    "a chunk that tells its size": bomb_in_a_chunk,
    "a chunk that tells another size": lambda folder: bomb_in_a_chunk(folder, 1000),
    "a chunk of an unfinished file": lambda folder: bomb_in_a_chunk(folder, closed=False),
    "chunks": bomb_of_chunks,
    "a message": bomb_in_a_message,
    "a file": bomb_of_a_file,
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_a_few_kilobytes_take_no_gigabytes(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    files = [path] if path.is_file() else [*path.iterdir()]
    assert sum(file.stat().st_size for file in files) < 250_000
    command = [sys.executable, bag_in_limited_memory.__file__, str(MEBIBYTES), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    error, mebibytes = done.stdout.splitlines()
    assert str(path) in error
    assert int(mebibytes) < MEBIBYTES / 2
    if make not in (BOMBS["a chunk that tells another size"],):
        assert "which no recording does" in error


def test_a_file_that_does_not_tell_its_size_stops_at_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_ON_DISK", 4 << 20)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    bag = message_bag(tmp_path, CompressionMode.FILE, [b"x"])
    (bag / "bag.db3.zstd").write_bytes(packed(b"", 40 << 20, told=False))
    with pytest.raises(BagError, match=r"bag\.db3\.zstd unpacks from \d+ bytes to 5242880 or more"), BagReader(bag):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["bag"], "what was unpacked is gone"


@pytest.mark.parametrize("mode", [CompressionMode.MESSAGE, CompressionMode.FILE])
def test_recordings_of_noise_and_of_darkness_are_within_the_bound(tmp_path: Path, mode: CompressionMode) -> None:
    noise = np.random.default_rng(3).bytes(5_000_000)
    messages = [noise, bytes(1920 * 1080 * 3), noise]
    with BagReader(message_bag(tmp_path, mode, messages)) as reader:
        assert [record.data for record in reader.records()] == messages


@pytest.mark.parametrize("compression", ["zstd", "lz4", ""])
def test_a_chunk_of_darkness_is_within_the_bound(tmp_path: Path, compression: str) -> None:
    inside = b"".join(record_of(1, stamp, bytes(1920 * 1080 * 3)) for stamp in (1, 2))
    pack = {"zstd": zstd.compress, "lz4": lz4.frame.compress, "": bytes}[compression]
    (tmp_path / "bag.mcap").write_bytes(mcap_of(TEXT + chunk(pack(inside), len(inside), compression)))
    with BagReader(tmp_path / "bag.mcap") as reader:
        assert [len(record.data) for record in reader.records()] == [1920 * 1080 * 3] * 2


def test_several_frames_are_one_text_and_a_cut_one_is_none() -> None:
    data = zstd.compress(b"one ") + zstd.compress(b"two")
    assert unzstd(data) == b"one two"
    for length in (len(data) - 1, 5):
        with pytest.raises(ReaderError):
            unzstd(data[:length])
    with pytest.raises(TooLargeError):
        unzstd(packed(b"", 80 << 20))


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = message_bag(tmp_path, CompressionMode.FILE, [b"x" * 3_000_000])
    (bag / "bag.db3.zstd").write_bytes(zstd.compress(zstd.decompress((bag / "bag.db3.zstd").read_bytes())))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000_000))
    monkeypatch.setattr(unpacking, "_unpack_file", pytest.fail)
    with pytest.raises(BagError, match=r"unpack to 3 MB, 2 MB are free.*TMPDIR"), BagReader(bag):
        pass


@pytest.mark.skipif(not can_mount(), reason="no disk can be mounted in a user namespace here")
def test_a_disk_that_fills_up_is_told(tmp_path: Path) -> None:
    bag = message_bag(tmp_path, CompressionMode.FILE, [b"x"])
    (bag / "bag.db3.zstd").write_bytes(packed(b"", 4 << 20, told=False))
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [sys.executable, bag_in_limited_memory.__file__, str(MEBIBYTES), str(bag)]
    done = subprocess.run(
        on_a_disk("size=2m", disk, *command), env={**os.environ, "TMPDIR": str(disk)}, capture_output=True, text=True
    )
    assert f"no room to unpack it in {disk}" in done.stdout, done.stderr

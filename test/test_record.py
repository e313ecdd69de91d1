# SPDX-License-Identifier: Apache-2.0
"""A record survives what happens to its process and to its disk: real processes, killed; real disks, full."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgevlm_ros.bag_metadata import topics_of
from edgevlm_ros.bag_types import BagError, typestore
from edgevlm_ros.bag_writer import STORAGES
from edgevlm_ros.bags import BagReader
from edgevlm_ros.record import Limits, Record, RecordedTopic
from support import recording_process
from support.disks import can_mount, on_a_disk

SAID = RecordedTopic("/said", "std_msgs/msg/String", False)
ASKED = RecordedTopic("/asked", "std_msgs/msg/String", True)
TEXT = bytes(typestore().serialize_cdr(typestore().types[SAID.type]("hello"), SAID.type))
NO_LIMIT = Limits(flush_period=0.02, min_free=0.0)

each_storage = pytest.mark.parametrize("storage", STORAGES)
needs_mount = pytest.mark.skipif(not can_mount(), reason="no disk can be mounted in a user namespace here")


def command(folder: Path, storage: str, **told: Any) -> list[str]:
    what = json.dumps({"folder": str(folder), "storage": storage, "size": 2000, **told})
    return [sys.executable, recording_process.__file__, what]


def outcome(words: list[str]) -> dict[str, Any]:
    """Of a recording process that runs until its record stops."""
    ended = subprocess.run(words, capture_output=True, text=True, timeout=90)
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


def stamps(bag: Path) -> list[int]:
    with BagReader(bag) as reader:
        return [record.stamp for record in reader.records(topics=[SAID.name])]


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    record = Record(tmp_path / "run", "mcap", [SAID, ASKED], ["said.txt"], NO_LIMIT)
    yield record
    record.close()


@each_storage
@pytest.mark.parametrize("size", [20, 60_000])
def test_all_that_was_flushed_can_be_read_after_kill_9(tmp_path: Path, storage: str, size: int) -> None:
    with subprocess.Popen(command(tmp_path, storage, size=size), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(5)]
        process.kill()
        told += [int(line) for line in process.stdout.read().splitlines()]
    left = stamps(tmp_path / "bag")
    assert left == list(range(len(left))), "nothing is missing in between"
    assert len(left) >= told[-1] >= 5
    lines = (tmp_path / "said.txt").read_text().split()
    assert lines[: told[-1]] == [str(stamp) for stamp in range(told[-1])]


@each_storage
def test_the_last_that_was_said_before_a_silence_is_there_after_kill_9(tmp_path: Path, storage: str) -> None:
    with subprocess.Popen(command(tmp_path, storage, size=20, most=3), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 3:
            pass
        process.kill()
    assert stamps(tmp_path / "bag") == [0, 1, 2]


def test_the_metadata_count_what_there_is_soon_after_the_first_message(record: Record) -> None:
    bag = record.folder / "bag"
    assert topics_of(bag) == [(*SAID[:2], 0), (*ASKED[:2], 0)], "there from the start"
    record.write(*SAID[:2], 1, TEXT)
    while not topics_of(bag)[0][2]:
        time.sleep(0.001)
    assert topics_of(bag)[0] == (*SAID[:2], 1)


def test_a_closed_record_is_whole(record: Record) -> None:
    for stamp in range(10):
        record.write(*SAID[:2], stamp, TEXT)
    record.write_text("said.txt", "hello\n")
    record.close()
    assert stamps(record.folder / "bag") == list(range(10))
    assert (record.folder / "said.txt").read_text() == "hello\n"
    with BagReader(record.folder / "bag") as bag:
        assert not bag.unfinished
        assert bag.topics[ASKED.name].latched
    assert (record.stopped, record.lost, record.written) == ("", 0, 10)


@needs_mount
@each_storage
def test_a_full_disk_ends_the_record_and_leaves_what_was_flushed(tmp_path: Path, storage: str) -> None:
    result = outcome(on_a_disk("size=400k", tmp_path, *command(tmp_path / "run", storage)))
    assert "full" in result["stopped"] or "No space left" in result["stopped"]
    assert "can be read in" in result["stopped"]
    assert result["left"] == list(range(len(result["left"])))
    assert len(result["left"]) >= result["written"] >= 30, "how many depends on how they were gathered"


@each_storage
def test_a_file_that_may_not_grow_is_as_a_full_disk(tmp_path: Path, storage: str) -> None:
    result = outcome(command(tmp_path, storage, file_limit=300_000))
    assert "; what came until" in result["stopped"]
    assert result["rest"] == 0, "no half record is in the way of other readers"
    assert result["left"] == list(range(len(result["left"])))
    assert len(result["left"]) >= result["written"] >= 20, "how many depends on how they were gathered"


@needs_mount
@each_storage
def test_a_record_ends_in_good_order_before_the_disk_is_full(tmp_path: Path, storage: str) -> None:
    result = outcome(on_a_disk("size=3m", tmp_path, *command(tmp_path / "run", storage, min_free=1.0)))
    assert "of the disk are free, and min_free is 1 MB" in result["stopped"]
    assert result["unfinished"] is False
    assert result["left"] == list(range(result["written"]))
    assert len(result["left"]) > 100


@needs_mount
def test_a_disk_that_cannot_be_written_ends_the_record_at_once(tmp_path: Path) -> None:
    result = outcome(on_a_disk("ro", tmp_path, *command(tmp_path / "run", "mcap")))
    assert "Read-only file system" in result["stopped"]
    assert result["stopped"].endswith("nothing is recorded")


def test_a_folder_that_cannot_be_made_ends_the_record_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told: list[str] = []
    record = Record(tmp_path / "file" / "run", "mcap", [SAID], [], NO_LIMIT, told.append)
    record.write(*SAID[:2], 1, TEXT)
    record.close()
    assert told == [record.stopped]
    assert "Not a directory" in record.stopped


def test_a_disk_that_is_too_full_already_is_left_alone(tmp_path: Path) -> None:
    record = Record(tmp_path / "run", "mcap", [SAID], [], Limits(min_free=1e9))
    record.close()
    assert "min_free is 1e+09 MB; nothing is recorded" in record.stopped
    assert not (tmp_path / "run" / "bag").exists()


def test_a_record_of_the_size_that_is_allowed_ends_in_good_order(tmp_path: Path) -> None:
    record = Record(tmp_path, "mcap", [SAID], [], Limits(0.02, min_free=0.0, max_size=0.05))
    stamp = 0
    while not record.stopped:
        record.write(*SAID[:2], stamp, TEXT)
        stamp += not record.lost
    record.close()
    assert "max_size is 0.05 MB; what came until" in record.stopped
    with BagReader(tmp_path / "bag") as bag:
        assert not bag.unfinished
        assert bag.message_count == record.written > 100


@pytest.mark.parametrize("there", ["bag", "said.txt"])
def test_an_old_record_is_never_written_over(tmp_path: Path, there: str) -> None:
    old = Record(tmp_path, "mcap", [SAID], ["said.txt"], NO_LIMIT)
    old.write(*SAID[:2], 7, TEXT)
    old.write_text("said.txt", "old\n")
    old.close()
    (tmp_path / ("said.txt" if there == "bag" else "bag")).rename(tmp_path / "away")
    with pytest.raises(BagError, match=f"{there}.* name another"):
        Record(tmp_path, "mcap", [SAID], ["said.txt"], NO_LIMIT)
    assert (tmp_path / there).exists()
    if there == "bag":
        assert stamps(tmp_path / "bag") == [7]
    else:
        assert (tmp_path / "said.txt").read_text() == "old\n"


def test_a_message_that_cannot_be_written_ends_the_record_and_keeps_what_came_before(record: Record) -> None:
    record.write(*SAID[:2], 1, TEXT)
    while not record.written:
        time.sleep(0.001)
    record.write("/other", "no_msgs/msg/Such", 2, TEXT)
    record.write(*SAID[:2], 3, TEXT)
    record.close()
    assert "no_msgs/msg/Such is not known here; what came until" in record.stopped
    assert stamps(record.folder / "bag") == [1]

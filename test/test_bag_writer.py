# SPDX-License-Identifier: Apache-2.0
"""What goes into a bag comes out of it, nothing else is overwritten, and half a bag is not left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edgevlm_ros.bag_types import BagError, typestore
from edgevlm_ros.bag_writer import STORAGES, BagWriter
from edgevlm_ros.bags import BagReader, Record

STRING = "std_msgs/msg/String"


@pytest.fixture(params=STORAGES)
def bag(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Ten messages at 5 Hz and one that is latched."""
    path = tmp_path / "bag"
    with BagWriter(path, request.param) as writer:
        writer.add_topic("/latched", STRING, latched=True)
        writer.write_message("/latched", typestore().types[STRING]("stands"), 0)
        for index in range(10):
            writer.write_message("/said", typestore().types[STRING](f"word {index}"), index * 200_000_000)
    return path


def records(bag: Path) -> list[Record]:
    with BagReader(bag) as reader:
        return list(reader.records())


@pytest.mark.parametrize("storage", STORAGES)
def test_raw_bytes_can_be_copied_to_the_other_storage(storage: str, bag: Path, tmp_path: Path) -> None:
    with BagWriter(tmp_path / storage, storage) as writer:
        for record in records(bag):
            writer.write(*record)
    assert records(tmp_path / storage) == records(bag)
    assert len(records(bag)) == 11


def test_a_latched_topic_is_told_to_be_one(bag: Path) -> None:
    with BagReader(bag) as reader:
        assert [reader.topics[name].latched for name in ("/latched", "/said")] == [True, False]


def test_existing_folder_is_not_overwritten(bag: Path) -> None:
    with pytest.raises(BagError, match="exists already"):
        BagWriter(bag)
    assert len(records(bag)) == 11


def test_unknown_storage_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="mcap, sqlite3"):
        BagWriter(tmp_path / "bag", "hdf5")


def test_unknown_type_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"their_msgs/msg/Odd"), BagWriter(tmp_path / "bag") as writer:
        writer.write("/odd", "their_msgs/msg/Odd", 1, b"")


def test_failed_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), BagWriter(tmp_path / "bag") as writer:
        writer.write_message("/a", typestore().types[STRING]("a"), 1)
        raise RuntimeError
    assert not (tmp_path / "bag").exists()


def test_metadata_is_what_ros_reads(bag: Path) -> None:
    information = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["storage_identifier"] in STORAGES
    assert {t["topic_metadata"]["serialization_format"] for t in information["topics_with_message_count"]} == {"cdr"}

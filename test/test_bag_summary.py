# SPDX-License-Identifier: Apache-2.0
"""Lone files of bags tell a launch file the same topics as their folders."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin, Writer

from edgevlm_ros.assets import bag_path
from edgevlm_ros.bag_metadata import MetadataError, camera_of, topics_of
from edgevlm_ros.bag_summary import topics_of_file
from edgevlm_ros.bag_types import typestore

STRING = "std_msgs/msg/String"


def lone_file(folder: Path, suffix: str) -> Path:
    (file,) = folder.glob(f"*{suffix}")
    return file


@pytest.mark.parametrize(("plugin", "suffix"), [(StoragePlugin.MCAP, ".mcap"), (StoragePlugin.SQLITE3, ".db3")])
def test_a_lone_file_has_the_topics_of_its_folder(tmp_path: Path, plugin: StoragePlugin, suffix: str) -> None:
    store = typestore()
    with Writer(tmp_path / "bag", version=8, storage_plugin=plugin) as bag:
        said, silent = (bag.add_connection(topic, STRING, typestore=store) for topic in ("/said", "/silent"))
        for stamp in range(3):
            bag.write(said, stamp, bytes(store.serialize_cdr(store.types[STRING]("x"), STRING)))
    assert silent.topic == "/silent"
    file = lone_file(tmp_path / "bag", suffix)
    assert sorted(topics_of(file)) == [("/said", STRING, 3), ("/silent", STRING, 0)]
    assert sorted(topics_of(file)) == sorted(topics_of(tmp_path / "bag"))


def test_the_camera_of_the_bundled_bags_file_is_that_of_the_bag(tmp_path: Path) -> None:
    folder = bag_path("demo")
    file = shutil.copy(lone_file(folder, ".mcap"), tmp_path / "drive.mcap")
    assert camera_of(file) == camera_of(folder)


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_a_file_that_does_not_tell_them_is_told(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"drive{suffix}"
    for content in (b"", b"no bag", b"\x89MCAP0\r\n" * 9):
        file.write_bytes(content)
        with pytest.raises(MetadataError, match=f"drive{suffix}: its topics cannot be read"):
            topics_of(file)


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 10**9), byte=st.integers(0, 255))
def test_a_damaged_end_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int) -> None:
    whole = lone_file(bag_path("demo"), ".mcap")
    content = bytearray(whole.read_bytes()[-20_000:])
    content[at % len(content)] = byte
    file = tmp_path_factory.mktemp("damaged") / "drive.mcap"
    with file.open("wb") as damaged:
        damaged.seek(whole.stat().st_size - len(content))  # what is before it is not read
        damaged.write(content)
    with contextlib.suppress(ValueError):
        topics_of_file(file)

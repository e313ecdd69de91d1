# SPDX-License-Identifier: Apache-2.0
"""A rosbag2: a byte says which of its files the bytes behind it are, then all of it is read."""

from __future__ import annotations

from functools import cache

from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bags import BagReader
from fuzz.corpus import FOLDER
from fuzz.scratch import scratch

WORDS = (
    b"\x89MCAP0\r\n", b"ros2msg", b"ros2idl", b"cdr", b"zstd", b"lz4", b"offered_qos_profiles", b"SQLite format 3\0",
    b"std_msgs/msg/String", b"riddle_msgs/msg/Riddle", b"string riddle\n", b"rosbag2_bagfile_information:",
    b"compression_format: zstd", b"compression_mode: file", b"compression_mode: message", b"relative_file_paths:",
    b"h264", b"hevc", b"vp9", b"av1", b"\x00\x00\x00\x01", b"protobuf", b"ros1msg",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18",
)  # fmt: skip
LONGEST = 8192
SLOW = True


def check(data: bytes) -> None:
    if not data:
        return
    which, file = data[0] % 3, data[1:]
    if which == 0:
        path = scratch("alone.mcap", file)
    elif which == 1:
        path = scratch("alone.db3", file)
    else:
        scratch("folder/bag.mcap", _whole())
        path = scratch("folder/metadata.yaml", file).parent
    try:
        with BagReader(path) as bag:
            assert bag.start <= max(bag.end, bag.start)
            for record in bag.records():
                bag.deserialize(record)
            assert all(isinstance(name, str) for name in bag.topics)
            bag.image_topic()
    except BagError as error:
        assert str(path) in str(error)


@cache
def _whole() -> bytes:
    """A file to go with the metadata of a folder."""
    return (FOLDER / "bag" / "mcap").read_bytes()[1:]

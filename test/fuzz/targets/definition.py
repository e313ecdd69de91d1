# SPDX-License-Identifier: Apache-2.0
"""A type that a bag brings along: its definition, a zero byte, and a message of it."""

from __future__ import annotations

from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bags import BagReader
from fuzz.mcap import mcap
from fuzz.scratch import scratch

WORDS = (
    b"float64 ", b"uint8[", b"string<=", b"[<=", b"bool ", b"int64[3] ", b"builtin_interfaces/Time ",
    b"Header header\n", b"std_msgs/", b"=" * 80 + b"\nMSG: p/msg/Q\n", b"string A=", b"int32 B=-3\n",
    b"class ", b"import ", b'"""', b"geometry_msgs/Pose ", b"[1000] ", b"\0\0\1\0\0",
)  # fmt: skip
LONGEST = 512
SLOW = True


def check(data: bytes) -> None:
    definition, _, message = data.partition(b"\0")
    path = scratch("own.mcap", mcap("riddle_msgs/msg/Riddle", definition, message))
    try:
        with BagReader(path) as bag:
            for record in bag.records():
                bag.deserialize(record)
    except BagError as error:
        assert str(path) in str(error)

# SPDX-License-Identifier: Apache-2.0
"""A message of a bag, of a known type: a byte for the type, then its CDR."""

from __future__ import annotations

from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bags import BagReader, Record
from edgevlm_ros.images import ImageError, to_rgb

TYPES = (
    "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image", "edgevlm_msgs/msg/Answer", "edgevlm_msgs/msg/Focus",
    "edgevlm_msgs/msg/CloudContext", "edgevlm_msgs/msg/Question", "edgevlm_msgs/msg/Facts",
    "diagnostic_msgs/msg/DiagnosticArray",
)  # fmt: skip
WORDS = (b"\0\1\0\0", b"\0\0\0\0", b"\xff\xff\xff\xff", b"rgb8\0", b"jpeg\0", b"\xff\xd8\xff")
LONGEST = 1024


def check(data: bytes) -> None:
    if not data:
        return
    kind = TYPES[data[0] % len(TYPES)]
    try:
        message = BagReader("a bag").deserialize(Record("/it", kind, 0, data[1:]))
    except BagError as error:
        assert "/it" in str(error)
        return
    assert message.__msgtype__ == kind
    if kind.endswith("Image"):
        try:
            to_rgb(message)
        except ImageError as error:
            assert str(error)

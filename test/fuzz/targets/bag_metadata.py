# SPDX-License-Identifier: Apache-2.0
"""The metadata.yaml of a bag, as a launch file reads it."""

from __future__ import annotations

from edgevlm_ros.bag_metadata import IMAGE_TYPES, MetadataError, camera_of, playable, topics_of
from fuzz.scratch import scratch

WORDS = (
    b"rosbag2_bagfile_information:", b"topics_with_message_count:", b"- topic_metadata:", b"name: ", b"type: ",
    b"message_count: ", b"sensor_msgs/msg/Image", b"sensor_msgs/msg/CompressedImage", b"edgevlm_msgs/msg/Question",
    b"&a ", b"*a", b"[*a, *a]", b"!!python/object:os.system", b"<<: ", b"{name: 1}", b"\n      ", b"null", b"[[[[",
)  # fmt: skip
LONGEST = 2048


def check(data: bytes) -> None:
    bag = scratch("bag/metadata.yaml", data).parent
    try:
        topics = topics_of(bag)
    except MetadataError as error:
        assert str(bag) in str(error)
        return
    for name, kind, count in topics:
        assert isinstance(name, str)
        assert isinstance(kind, str)
        assert isinstance(count, int)
    assert set(playable(topics, asked=True)) <= set(playable(topics, asked=False)) <= {name for name, _, _ in topics}
    try:
        camera = camera_of(bag)
    except MetadataError as error:
        assert str(bag) in str(error)
    else:
        assert any(name == camera and kind in IMAGE_TYPES for name, kind, _ in topics)

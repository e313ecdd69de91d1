# SPDX-License-Identifier: Apache-2.0
"""Packets of video, in messages and bags: each frame has its own gray, with a keyframe every so many."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from edgevlm_ros.bag_types import typestore
from edgevlm_ros.bag_writer import BagWriter

FFMPEG, FOXGLOVE = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "foxglove_msgs/msg/CompressedVideo"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
TOPICS = {FFMPEG: "/camera/image_raw/ffmpeg", FOXGLOVE: "/camera/video", COMPRESSED: "/camera/image/compressed"}
PERIOD = 200_000_000
GRAY = 8
"""What each frame is brighter than the one before."""

Coded = tuple[int, bytes]
"""Number of the frame that is shown, and its packet."""


def packets(frames: int = 20, keyframes: int = 5, codec: str = "libx264", **options: str) -> list[Coded]:
    """In the order in which they are decoded."""
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.gop_size = Fraction(1, 5), 5, keyframes
    encoder.thread_count = 1
    encoder.options = {"tune": "zerolatency", "sc_threshold": "0", **options} if codec == "libx264" else options
    coded = []
    for number in range(frames):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * GRAY, np.uint8), format="rgb24")
        frame.pts = number
        coded += encoder.encode(frame)
    coded += encoder.encode(None)
    return [(int(packet.pts), bytes(packet)) for packet in coded]


def message(kind: str, number: int, data: bytes, format: str) -> Any:
    """The frame of this number, a fifth of a second after the one before."""
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](*divmod(stamp(number), 10**9))
    header = types["std_msgs/msg/Header"](time, "camera")
    array = np.frombuffer(data, np.uint8)
    if kind == FFMPEG:
        return types[kind](header, 64, 48, format, number, 0, False, array)
    if kind == FOXGLOVE:
        return types[kind](time, "camera", array, format)
    return types[kind](header, format, array)


def stamp(number: int) -> int:
    return 10**9 + number * PERIOD


def video_bag(bag: Path, coded: Iterable[Coded], kind: str = FFMPEG, format: str = "h264") -> Path:
    """With a text between each two packets."""
    with BagWriter(bag) as writer:
        for at, (number, data) in enumerate(coded):
            writer.write_message(TOPICS[kind], message(kind, number, data, format), stamp(at))
            writer.write_message("/said", typestore().types["std_msgs/msg/String"](f"{at}"), stamp(at) + PERIOD // 2)
    return bag

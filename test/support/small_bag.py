# SPDX-License-Identifier: Apache-2.0
"""Small bags for an evaluation, made by the message, so that a test says what is wrong with its bag."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg

from edgevlm_ros.bag_types import new_typestore
from edgevlm_ros.images import to_jpeg

EPOCH = 1_780_000_000 * 10**9
NEVER = -EPOCH / 1e9  # the time of a driver that leaves its stamps empty
WHERE = "Where is the person?"
_RIDDLE = "riddle_msgs/msg/Riddle"


class SmallBag:
    """A bag that is being written; a context manager. Times are seconds since its beginning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._store = new_typestore()
        self._store.register(get_types_from_msg("string riddle\n", _RIDDLE))
        self._writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
        self._connections: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> SmallBag:
        self._writer.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def jpeg(self, at: float, *, recorded: float | None = None, data: bytes | None = None) -> None:
        """A frame of its own colour."""
        data = data or to_jpeg(np.full((48, 64, 3), round(at * 20) % 256, np.uint8))
        self._write(
            "/image/compressed", "sensor_msgs/msg/CompressedImage", at, recorded, "jpeg", np.frombuffer(data, np.uint8)
        )

    def raw(self, at: float, *, recorded: float | None = None) -> None:
        """A frame of its own colour, not compressed."""
        pixels = np.full(48 * 64 * 3, round(at * 20) % 256, np.uint8)
        self._write("/image", "sensor_msgs/msg/Image", at, recorded, 48, 64, "rgb8", 0, 64 * 3, pixels)

    def question(self, at: float, text: str = WHERE) -> None:
        self._write("/question", "edgevlm_msgs/msg/Question", at, None, _id(text), text)

    def truth(self, at: float, answer: str, question: str = WHERE) -> None:
        self._write("/ground_truth", "edgevlm_msgs/msg/Annotation", at, None, _id(question), question, answer, [])

    def facts(self, at: float, *facts: tuple[str, str, int, float, bool, bool], question: str = WHERE) -> None:
        fact = self._store.types["edgevlm_msgs/msg/Fact"]
        self._write("/facts", "edgevlm_msgs/msg/Facts", at, None, _id(question), [fact(*each) for each in facts])

    def riddle(self, at: float) -> None:
        """A message of a type that nobody else knows."""
        message = self._store.types[_RIDDLE]("?")
        self._put("/riddle", message, at)

    def damaged(self, at: float, topic: str, type: str) -> None:
        """Three bytes that are no message."""
        self._writer.write(self._connection(topic, type), stamp(at), b"\0\1\0")

    def _write(self, topic: str, type: str, at: float, recorded: float | None, *fields: Any) -> None:
        time = self._store.types["builtin_interfaces/msg/Time"](*divmod(stamp(at), 10**9))
        header = self._store.types["std_msgs/msg/Header"](time, "camera")
        self._put(topic, self._store.types[type](header, *fields), at if recorded is None else recorded)

    def _put(self, topic: str, message: Any, recorded: float) -> None:
        data = self._store.serialize_cdr(message, message.__msgtype__)
        self._writer.write(self._connection(topic, message.__msgtype__), stamp(recorded), data)

    def _connection(self, topic: str, type: str) -> Any:
        if (topic, type) not in self._connections:
            self._connections[topic, type] = self._writer.add_connection(topic, type, typestore=self._store)
        return self._connections[topic, type]


def whole(path: Path, times: Iterable[float] | None = None) -> Path:
    """Write a bag in which nothing is wrong: four seconds, left for two of them and right from then on."""
    with SmallBag(path) as bag:
        for index, time in enumerate(at_5_hz(4) if times is None else times):
            if not index:
                bag.question(time)
            bag.jpeg(time)
            bag.truth(time, "left" if time < 2 else "right")
    return path


def at_5_hz(seconds: float) -> list[float]:
    return [index / 5 for index in range(round(seconds * 5))]


def stamp(at: float) -> int:
    """Seconds since the beginning of a small bag as nanoseconds."""
    return EPOCH + round(at * 1e9)


def _id(text: str) -> int:
    return zlib.crc32(text.encode())

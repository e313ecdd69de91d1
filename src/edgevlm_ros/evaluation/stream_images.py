# SPDX-License-Identifier: Apache-2.0
"""The images of one bag by their capture times, small in memory and cheap to ask for again.

A sweep asks for the same frames for every policy. Compressed images stay in memory as they are (a minute at 320x240 and
5 Hz is 4 MB) and are decoded on demand; raw images, and compressed ones beyond HELD_BYTES, are read from the bag again.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgevlm_ros.bag_metadata import IMAGE_TYPES
from edgevlm_ros.bag_types import BagError, typestore
from edgevlm_ros.bags import BagReader, Record
from edgevlm_ros.cloud.jpeg import Upload, as_it_is, encode
from edgevlm_ros.evaluation.recording import nanoseconds
from edgevlm_ros.images import to_rgb
from edgevlm_ros.transfer.types import Frame

MAX_SIDE, JPEG_QUALITY = 640, 85  # the bridge's defaults, see config/edgevlm.yaml
HELD_BYTES = 256 << 20


class StreamImages:
    """Filled by `keep` while the bag is read, then read only; raises KeyError for a stamp that was not kept.

    path: of the bag, which must stay where it is. Can be pickled.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._room = HELD_BYTES
        self._held: dict[int, Record] = {}
        self._elsewhere: dict[int, tuple[str, int]] = {}  # topic, time of recording
        self._sizes: dict[int, int] = {}
        self._bag: BagReader | None = None
        self._close_bag: Callable[[], object] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bag": None, "_close_bag": None}

    def keep(self, stamp: int, record: Record) -> None:
        """Remember the image of a capture time, or where it is."""
        if record.type == IMAGE_TYPES[1] and len(record.data) <= self._room:
            self._room -= len(record.data)
            self._held[stamp] = record._replace(data=bytes(record.data))
        else:
            self._elsewhere[stamp] = record.topic, record.stamp

    def frame(self, stamp: int) -> Frame:
        """Decoded anew each time: who needs it twice keeps it."""
        return Frame(stamp, to_rgb(self._message(stamp)))

    def upload(self, stamp: int) -> Upload:
        """What the bridge would send of this image, at its default settings."""
        message = self._message(stamp)
        passed = as_it_is(bytes(message.data), MAX_SIDE) if hasattr(message, "format") else None
        return passed or encode(to_rgb(message), MAX_SIDE, JPEG_QUALITY)

    def jpeg_bytes(self, stamp: int) -> int:
        """The size of that upload's JPEG; made once."""
        if stamp not in self._sizes:
            self._sizes[stamp] = len(self.upload(stamp).jpeg)
        return self._sizes[stamp]

    def _message(self, stamp: int) -> Any:
        if stamp in self._held:
            record = self._held[stamp]
            return typestore().deserialize_cdr(record.data, record.type)
        topic, recorded = self._elsewhere[stamp]
        bag = self._opened()
        for record in bag.records([topic], start=recorded, stop=recorded + 1):
            message = bag.deserialize(record)
            if nanoseconds(message.header.stamp) in (stamp, 0):
                return message
        raise BagError(
            f"bag {self._path}: the image of {stamp} ns is not there any more; leave bags alone while in use"
        )

    def _opened(self) -> BagReader:
        """Stays open until images of another bag are read: a compressed bag is unpacked when it is opened, whole."""
        if self._bag is None:
            for other in list(_open):
                other._close()
            self._bag = BagReader(self._path).__enter__()
            self._close_bag = weakref.finalize(self, self._bag.__exit__, None, None, None)
            _open.add(self)
        return self._bag

    def _close(self) -> None:
        _open.discard(self)
        self._bag = None
        if self._close_bag is not None:
            self._close_bag()


_open: weakref.WeakSet[StreamImages] = weakref.WeakSet()

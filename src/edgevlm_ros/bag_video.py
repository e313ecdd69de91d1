# SPDX-License-Identifier: Apache-2.0
"""Video in a bag as images: H.264 and the like come in packets, most of which are nothing without those before.

A packet becomes a sensor_msgs/CompressedImage, a JPEG. Decoding begins at a keyframe, and again at one after a damaged
packet. Packets that show no frame are counted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.codec.context import Flags

from edgevlm_ros.bag_metadata import COMPRESSED, video_codec
from edgevlm_ros.bag_types import typestore
from edgevlm_ros.images import MAX_PIXELS, to_jpeg

if TYPE_CHECKING:
    from edgevlm_ros.bags import Place, Record

_DECODERS = {"av1": "libdav1d"}  # FFmpeg's own needs a GPU
_REORDERED = 16  # packets that H.264 and HEVC hold back at most
_QUALITY = 95


class VideoDecoder:
    """Of one topic, fed in the order of the bag.

    read: makes a CompressedImage, an FFMPEGPacket or a CompressedVideo of a record. dropped: how many packets showed no
    frame, by the reason. waits: whether a keyframe has to come before anything can be shown.
    """

    def __init__(self, read: Callable[[Record], Any]) -> None:
        self.dropped: Counter[str] = Counter()
        self.waits = True
        self._read = read
        self._codec: Any = None
        self._next = 0
        self._packets: dict[int, tuple[Record, Any]] = {}  # with their headers
        self._places: deque[Place] = deque()

    def feed(self, record: Record, place: Place) -> None:
        """Frames come out in the order in which they are shown, and take the places of their packets in that order."""
        key, self._next = self._next, self._next + 1
        self._packets[key] = record, None
        self._places.append(place)
        try:
            message = self._read(record)
            self._packets[key] = record, _header(message)
            self._codec = self._codec or _open(str(getattr(message, "encoding", None) or message.format))
            packet = av.Packet(bytes(message.data))
            packet.pts = key
            if not packet.size:
                raise ValueError("an empty packet would end the stream")
            self._take(self._codec.decode(packet))
        except UnknownCodecError as error:
            self._give_up(key, f"no decoder: {error}")
        except Exception:  # whatever a decoder makes of damaged bytes
            self._give_up(key, "no keyframe before it" if self.waits else "damaged")
            self.waits = True
        self._give_up(key - _REORDERED, "no frame in it")

    def end(self) -> None:
        """No packet follows."""
        try:
            self._take(self._codec.decode(None) if self._codec else ())
        except Exception:
            self.waits = True
        self._drop_rest()

    def begin(self) -> None:
        """What was fed only had to be known: it is not shown, and not counted."""
        self._drop_rest()
        self.dropped.clear()

    def _drop_rest(self) -> None:
        for key in list(self._packets):
            self._give_up(key, "no frame in it")

    def _take(self, frames: Iterable[Any]) -> None:
        for frame in frames:
            self.waits = self.waits and not frame.key_frame
            if self.waits:
                self._give_up(frame.pts, "no keyframe before it")
            elif frame.pts in self._packets:
                record, header = self._packets[frame.pts]
                data = _serialized(header, frame)
                del self._packets[frame.pts]
                self._places.popleft().take(record._replace(type=COMPRESSED, data=data))

    def _give_up(self, key: int, reason: str) -> None:
        if self._packets.pop(key, None):
            self._places.popleft().take(None)
            self.dropped[reason] += 1


def _header(message: Any) -> Any:
    if not hasattr(message, "timestamp"):
        return message.header
    return typestore().types["std_msgs/msg/Header"](message.timestamp, message.frame_id)


def _open(format: str) -> Any:
    name = video_codec(format) or format[:40]
    codec: Any = av.CodecContext.create(_DECODERS.get(name, name), "r")
    codec.thread_count = 1  # several hold frames back
    codec.flags |= Flags.low_delay
    codec.options = {"max_pixels": str(MAX_PIXELS)}
    return codec


def _serialized(header: Any, frame: Any) -> bytes:
    jpeg = np.frombuffer(to_jpeg(frame.to_ndarray(format="rgb24"), _QUALITY), np.uint8)
    message = typestore().types[COMPRESSED](header, "jpeg", jpeg)
    return bytes(typestore().serialize_cdr(message, COMPRESSED))

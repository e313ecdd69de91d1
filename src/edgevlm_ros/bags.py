# SPDX-License-Identifier: Apache-2.0
"""rosbag2 folders, read without a ROS installation.

Messages stay what the bag has, serialised CDR, until someone asks for more: the player hands them to rclpy, the
evaluation to rosbags. Only video is decoded, to JPEGs. What is wrong with a bag is said in a BagError.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from rosbags.interfaces import MessageDefinitionFormat, QosDurability
from rosbags.typesys import get_types_from_msg

from edgevlm_ros.bag_metadata import COMPRESSED, IMAGE_TYPES, VIDEO_TYPES, likeliest_camera, shown_as, video_codec
from edgevlm_ros.bag_types import BagError, check_size, new_typestore, typestore
from edgevlm_ros.unfinished_bag import AnyReader, ros1_advice
from edgevlm_ros.words import in_one_line

if TYPE_CHECKING:
    from edgevlm_ros.bag_video import VideoDecoder

JPEG_START = b"\xff\xd8"
_KEYFRAME_NS = 2 * 10**9  # cameras send one every second or two


@dataclass(frozen=True, slots=True)
class Topic:
    """latched: offered as transient local, so that late subscribers get its last message."""

    name: str
    type: str
    count: int
    latched: bool


class Record(NamedTuple):
    """One message. stamp: when it was recorded, nanoseconds, the bag's clock. data: its CDR bytes, header included."""

    topic: str
    type: str
    stamp: int
    data: bytes


@dataclass(slots=True, eq=False)
class Place:
    """A message's place among the others while video is decoded. pending: whether it is open what goes there."""

    record: Record | None
    pending: bool

    def take(self, record: Record | None) -> None:
        self.record, self.pending = record, False


class BagReader:
    """A rosbag2 folder (or one .mcap or .db3 file), open while the context lasts."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._store = typestore()
        self._small: set[str] = set()  # of its own types, those that may be read
        self._reader: AnyReader | None = None
        self._shown: dict[tuple[str, str], tuple[str, str]] = {}  # name and type in the bag, and outside it
        self._dropped: dict[str, Counter[str]] = {}

    def __enter__(self) -> BagReader:
        self._check_path()
        try:
            self._reader = AnyReader(self.path)
            self._reader.open()
            self._check_metadata()
            self._register_own_types()
            names = {c.topic for c in self._reader.connections}
            self._shown = {(c.topic, c.msgtype): shown_as(c.topic, c.msgtype, names) for c in self._reader.connections}
        except Exception as error:  # a damaged file can make the reader raise anything
            self._reader = None
            raise BagError(f"bag {self.path}: cannot be read: {in_one_line(error)}") from error
        return self

    def _check_path(self) -> None:
        if not self.path.exists():
            raise BagError(f"bag {self.path}: no such file or folder")
        if self.path.is_file() and self.path.suffix == ".bag":
            raise BagError(f"bag {self.path}: {ros1_advice(self.path)}")
        if self.path.is_file() and self.path.suffix not in (".mcap", ".db3"):
            raise BagError(f"bag {self.path}: not a rosbag2 (a folder with a metadata.yaml, a .mcap or a .db3 file)")
        if self.path.is_dir() and not (self.path / "metadata.yaml").is_file():
            parts = sorted([*self.path.glob("*.mcap"), *self.path.glob("*.db3")])
            advice = f"; name {parts[0]} itself, or: ros2 bag reindex {self.path}" if parts else ""
            raise BagError(f"bag {self.path}: the folder has no metadata.yaml, so it is no rosbag2{advice}")

    def _check_metadata(self) -> None:
        """The reader takes a SQLite file's values as they are."""
        for c in self._open.connections:
            if not (isinstance(c.topic, str) and isinstance(c.msgtype, str)):
                raise BagError("a topic's name or type is no text")
            if not isinstance(c.msgcount, int):
                raise BagError(f"{c.topic} has {c.msgcount} messages, which is no number")
        if not all(isinstance(number, int) for number in (self.start, self.end, self.message_count)):
            raise BagError("it has a time or a count that is no number")

    def _register_own_types(self) -> None:
        """Let the bag's own definitions serve for types that nobody else has."""
        definitions: dict[str, str] = {
            c.msgtype: c.msgdef.data
            for c in self._open.connections
            if c.msgtype not in self._store.fielddefs and c.msgdef.format is MessageDefinitionFormat.MSG
        }
        if definitions:
            self._store = new_typestore()
            for name, definition in definitions.items():
                types = get_types_from_msg(definition, name)
                self._store.register({name: t for name, t in types.items() if name not in self._store.fielddefs})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @property
    def _open(self) -> AnyReader:
        if self._reader is None:
            raise BagError(f"bag {self.path}: not open")
        return self._reader

    @property
    def topics(self) -> dict[str, Topic]:
        topics: dict[str, Topic] = {}
        for c in self._open.connections:
            latched = any(
                q.durability is QosDurability.TRANSIENT_LOCAL for q in getattr(c.ext, "offered_qos_profiles", ())
            )
            name, kind = self._shown[c.topic, c.msgtype]
            before = topics.get(name, Topic(name, kind, 0, False))
            topics[name] = replace(before, count=before.count + c.msgcount, latched=before.latched or latched)
        return topics

    @property
    def start(self) -> int:
        """Stamp of the first message, nanoseconds; 0 in an empty bag."""
        return self._open.start_time if self._open.message_count else 0

    @property
    def end(self) -> int:
        """Stamp of the last message, nanoseconds."""
        return self._open.end_time - 1 if self._open.message_count else 0

    @property
    def message_count(self) -> int:
        return self._open.message_count

    @property
    def unfinished(self) -> bool:
        """Whether its writer did not close it: it was killed, ran out of disk, or still writes."""
        return self._open.unfinished

    @property
    def left_out(self) -> tuple[str, ...]:
        """Files and topics of it that cannot be read, each with the reason."""
        return self._open.left_out

    def image_topic(self, wanted: str = "") -> Topic:
        """The topic named, if it has images; without a name the likeliest camera: colour, then JPEG, then many."""
        images = [t for t in self.topics.values() if t.type in IMAGE_TYPES and t.count]
        if wanted:
            images = [t for t in images if t.name.strip("/") == wanted.strip("/")]
        if not images:
            there = ", ".join(f"{t.name} ({t.type}, {t.count})" for t in self.topics.values()) or "no topics at all"
            there = "; ".join([there, *self.left_out])
            raise BagError(f"bag {self.path}: no images{f' on {wanted}' if wanted else ''}; it has {there}")
        return self.topics[likeliest_camera((t.name, t.type, t.count) for t in images)]

    def records(
        self,
        topics: Collection[str] | None = None,
        types: Collection[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[Record]:
        """Messages in the order of their stamps, start <= stamp < stop; None asks for all. A video's frames come in the
        order in which they are shown."""
        shown = [(self._shown[c.topic, c.msgtype], c) for c in self._open.connections]
        chosen = [
            c for (name, kind), c in shown if (topics is None or name in topics) and (types is None or kind in types)
        ]
        if not chosen:
            return
        images = {name for (name, kind), c in shown if kind == COMPRESSED and c in chosen}
        decoders: dict[str, VideoDecoder | None] = {}
        if start is not None:
            for topic in images:
                self._synchronize(topic, start, decoders)
        records = self._recorded(chosen, start, stop)
        yield from self._decoded(records, images, decoders) if images else records

    def _recorded(self, connections: Collection[Any], start: int | None, stop: int | None) -> Iterator[Record]:
        """As they are in the bag, with their topics' names as shown."""
        read, stamp = 0, self.start
        try:
            for connection, stamp, data in self._open.messages(connections, start, stop):
                read += 1
                topic, _ = self._shown[connection.topic, connection.msgtype]
                yield Record(topic, connection.msgtype, stamp, data)
        except Exception as error:
            seconds = (stamp - self.start) / 1e9
            raise BagError(
                f"bag {self.path}: damaged after {read} messages ({seconds:.1f} s): {in_one_line(error)}"
            ) from error

    # -- video -------------------------------------------------------------------------------------------------------

    @property
    def dropped(self) -> dict[str, str]:
        """Topics whose packets of video have not all shown a frame when they were read: how many, by the reason."""
        return {
            topic: ", ".join(f"{count} ({reason})" for reason, count in dropped.items())
            for topic, dropped in self._dropped.items()
            if dropped
        }

    def _decoded(
        self, records: Iterator[Record], images: Collection[str], decoders: dict[str, VideoDecoder | None]
    ) -> Iterator[Record]:
        """The records, with frames in place of a video's packets. images: topics that may be videos."""
        places: deque[Place] = deque()
        failure: BagError | None = None
        try:
            for record in records:
                if record.topic in images and record.topic not in decoders:
                    with contextlib.suppress(BagError):  # a damaged image does not tell what it is
                        decoders[record.topic] = self._decoder(record)
                decoder = decoders.get(record.topic)
                places.append(Place(record, decoder is not None))
                if decoder is not None:
                    decoder.feed(record, places[-1])
                yield from _settled(places)
        except BagError as error:
            failure = error
        for topic, decoder in decoders.items():
            if decoder is not None:
                decoder.end()
                self._dropped.setdefault(topic, Counter()).update(decoder.dropped)
        yield from _settled(places)
        if failure is not None:
            raise failure

    def _decoder(self, record: Record) -> VideoDecoder | None:
        """For the topic of this record, None if it is no video. Raises BagError."""
        if record.type not in VIDEO_TYPES:
            message = self.deserialize(record)
            if not video_codec(message.format) or bytes(message.data[:2]) == JPEG_START:
                return None
        from edgevlm_ros.bag_video import VideoDecoder

        return VideoDecoder(self.deserialize)

    def _synchronize(self, topic: str, start: int, decoders: dict[str, VideoDecoder | None]) -> None:
        """Feed the topic's decoder, if it is a video, with the packets from a keyframe on up to this time."""
        connections = [c for c in self._open.connections if self._shown[c.topic, c.msgtype][0] == topic]
        back = _KEYFRAME_NS
        while True:
            decoders.pop(topic, None)
            for record in self._recorded(connections, start - back, start):
                if topic not in decoders:
                    with contextlib.suppress(BagError):
                        decoders[topic] = self._decoder(record)
                if (decoder := decoders.get(topic)) is not None:
                    decoder.feed(record, Place(None, True))
                elif topic in decoders:
                    return
            decoder = decoders.get(topic)
            if start - back <= self.start or (decoder is not None and not decoder.waits):
                break
            back *= 4
        if decoder is not None:
            decoder.begin()

    def deserialize(self, record: Record) -> Any:
        """The message as a rosbags object, with the fields of the ROS message."""
        if record.type not in self._store.fielddefs:
            raise BagError(f"bag {self.path}: the type {record.type} of {record.topic} is not known here")
        if record.type not in typestore().fielddefs and record.type not in self._small:
            try:
                check_size(self._store.fielddefs, record.type)
            except BagError as error:
                raise BagError(f"bag {self.path}: {record.topic} cannot be read: {error}") from None
            self._small.add(record.type)
        try:
            return self._store.deserialize_cdr(record.data, record.type)
        except Exception as error:
            raise BagError(
                f"bag {self.path}: a damaged {record.type} on {record.topic}: {in_one_line(error)}"
            ) from error


def _settled(places: deque[Place]) -> Iterator[Record]:
    """What is ready at the front, taken away."""
    while places and not places[0].pending:
        record = places.popleft().record
        if record is not None:
            yield record

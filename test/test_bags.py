# SPDX-License-Identifier: Apache-2.0
"""A bag is read as it was written, and a broken one says how it is broken."""

import contextlib
import itertools
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from edgevlm_ros.bag_types import BagError, typestore
from edgevlm_ros.bag_writer import STORAGES, BagWriter
from edgevlm_ros.bags import BagReader
from fuzz.mcap import channel, chunk, mcap, mcap_of, record_of

TYPES = typestore().types
IMAGE = "sensor_msgs/msg/CompressedImage"


def header(stamp: int = 0) -> Any:
    return TYPES["std_msgs/msg/Header"](TYPES["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9)), "camera")


def jpeg(stamp: int) -> Any:
    import numpy as np

    return TYPES[IMAGE](header(stamp), "jpeg", np.arange(stamp % 50 + 5, dtype=np.uint8))


@pytest.fixture(params=STORAGES)
def bag(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Ten frames at 5 Hz and a question that stands from the start."""
    path = tmp_path / "bag"
    with BagWriter(path, request.param) as writer:
        writer.add_topic("/question", "edgevlm_msgs/msg/Question", latched=True)
        writer.write_message("/question", TYPES["edgevlm_msgs/msg/Question"](header(), 7, "Where?"), 10**9)
        for index in range(10):
            writer.write_message("/image/compressed", jpeg(index), 10**9 + index * 200_000_000)
    return path


def test_messages_come_back_in_order_with_their_bytes(bag: Path) -> None:
    with BagReader(bag) as reader:
        records = list(reader.records(topics=["/image/compressed"]))
        assert [r.stamp for r in records] == [10**9 + i * 200_000_000 for i in range(10)]
        assert all(reader.deserialize(r).data.tolist() == jpeg(i).data.tolist() for i, r in enumerate(records))


def test_own_messages_are_known(bag: Path) -> None:
    with BagReader(bag) as reader:
        (record,) = reader.records(types=["edgevlm_msgs/msg/Question"])
        assert reader.deserialize(record).text == "Where?"


def test_bag_tells_its_topics_and_times(bag: Path) -> None:
    with BagReader(bag) as reader:
        assert (reader.start, reader.end, reader.message_count) == (10**9, 10**9 + 1_800_000_000, 11)
        question, image = reader.topics["/question"], reader.topics["/image/compressed"]
    assert (question.latched, question.count) == (True, 1)
    assert (image.latched, image.count, image.type) == (False, 10, IMAGE)


def test_time_range_is_half_open(bag: Path) -> None:
    with BagReader(bag) as reader:
        stamps = [r.stamp for r in reader.records(start=10**9 + 200_000_000, stop=10**9 + 600_000_000)]
    assert stamps == [10**9 + 200_000_000, 10**9 + 400_000_000]


def test_single_storage_file_can_be_named(bag: Path) -> None:
    (file,) = [*bag.glob("*.mcap"), *bag.glob("*.db3")]
    with BagReader(file) as reader:
        assert sum(1 for _ in reader.records()) == 11


def test_camera_is_found_among_topics(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        for topic, count in {"/depth/image/compressed": 9, "/left/compressed": 3, "/right/compressed": 4}.items():
            for index in range(count):
                writer.write_message(topic, jpeg(index), index)
    with BagReader(tmp_path / "bag") as reader:
        assert reader.image_topic().name == "/right/compressed"
        assert reader.image_topic("left/compressed").name == "/left/compressed"
        with pytest.raises(BagError, match=r"no images on /rear; it has .*/left/compressed"):
            reader.image_topic("/rear")


def test_bag_without_images_lists_what_it_has(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_message("/scan_info", TYPES["std_msgs/msg/String"]("hello"), 5)
    with BagReader(tmp_path / "bag") as reader, pytest.raises(BagError, match=r"no images; .*/scan_info"):
        reader.image_topic()


def test_empty_bag_is_empty(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag"):
        pass
    with BagReader(tmp_path / "bag") as reader:
        assert (reader.start, reader.end, list(reader.records())) == (0, 0, [])
        with pytest.raises(BagError, match="no topics at all"):
            reader.image_topic()


def test_type_that_only_the_bag_defines_can_be_read(tmp_path: Path) -> None:
    theirs = get_typestore(Stores.EMPTY)
    theirs.register(get_types_from_msg("float64 charge\n", "their_msgs/msg/Battery"))
    message = theirs.types["their_msgs/msg/Battery"](charge=0.5)
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/battery", "their_msgs/msg/Battery", typestore=theirs)
        writer.write(connection, 1, theirs.serialize_cdr(message, "their_msgs/msg/Battery"))
    with BagReader(tmp_path / "bag") as reader:
        (record,) = reader.records()
        assert reader.deserialize(record).charge == 0.5


@pytest.mark.parametrize("of", ["string[100000]", "builtin_interfaces/Time[100000]"])
def test_a_type_of_a_hundred_thousand_fields_is_refused_unread(tmp_path: Path, of: str) -> None:
    (tmp_path / "bag.mcap").write_bytes(mcap("riddle_msgs/msg/Riddle", f"{of} x\n".encode(), b"\0\1\0\0"))
    with BagReader(tmp_path / "bag.mcap") as reader:
        (record,) = reader.records()
        with pytest.raises(BagError, match="more than 1000 fields"):
            reader.deserialize(record)


FOREIGN = {"jsonschema": "json", "protobuf": "protobuf", "flatbuffer": "flatbuffer", "ros1msg": "ros1", "": "json"}


def foreign_mcap(schema: str, profile: str, **layout: bool) -> bytes:
    """Three frames of a good camera, and between them messages that are not in CDR."""
    images = channel(1, "/image/compressed", IMAGE, b"", "ros2msg")
    others = channel(2, "/others", "foxglove.Detections", b"\x0a\xb8\x01\xff{}", schema, FOREIGN[schema])
    frames = [bytes(typestore().serialize_cdr(jpeg(stamp), IMAGE)) for stamp in range(3)]
    records = b"".join(record_of(1, 10 * n, frame) + record_of(2, 10 * n + 5, b"{}") for n, frame in enumerate(frames))
    return mcap_of(images + others + records, profile, **layout)


@pytest.mark.parametrize("schema", FOREIGN)
@pytest.mark.parametrize("profile", ["ros2", ""])
@pytest.mark.parametrize("closed", [True, False])
def test_what_is_not_in_cdr_is_left_out_and_named_beside_a_good_camera(
    tmp_path: Path, schema: str, profile: str, closed: bool
) -> None:
    (tmp_path / "drive.mcap").write_bytes(foreign_mcap(schema, profile, closed=closed))
    with BagReader(tmp_path / "drive.mcap") as reader:
        assert reader.left_out == (f"/others is in {FOREIGN[schema]}",)
        assert list(reader.topics) == ["/image/compressed"]
        assert reader.message_count == 3
        assert [reader.deserialize(record).data.size for record in reader.records()] == [5, 6, 7]


@pytest.mark.parametrize("storage", STORAGES)
def test_a_camera_whose_definition_its_recorder_did_not_find_is_read(tmp_path: Path, storage: str) -> None:
    image = bytes(typestore().serialize_cdr(jpeg(3), IMAGE))
    file = tmp_path / "bag.mcap"
    if storage == "mcap":
        file.write_bytes(mcap_of(channel(1, "/image/compressed", IMAGE, b"", "unknown") + record_of(1, 5, image)))
    else:
        with BagWriter(tmp_path / "bag", storage) as writer:
            writer.write("/image/compressed", IMAGE, 5, image)
        file = tmp_path / "bag" / "bag.db3"
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE message_definitions SET encoding = 'unknown', encoded_message_definition = ''")
    with BagReader(file) as reader:
        assert [reader.deserialize(record).data.size for record in reader.records()] == [8]


def test_a_folder_with_what_is_not_in_cdr_is_read_too(bag: Path) -> None:
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("serialization_format: cdr", "serialization_format: json", 1))
    with BagReader(bag) as reader:
        assert reader.message_count == 11, "the files tell what they have"


def test_a_bag_that_has_nothing_else_says_what_it_left_out(tmp_path: Path) -> None:
    records = channel(1, "/image", "foxglove.CompressedImage", b"", "protobuf", "protobuf") + record_of(1, 5, b"")
    (tmp_path / "drive.mcap").write_bytes(mcap_of(records))
    with BagReader(tmp_path / "drive.mcap") as reader, pytest.raises(BagError, match="/image is in protobuf"):
        reader.image_topic()


@pytest.mark.parametrize("packed", [True, False])
def test_an_mcap_of_ros1_is_told_how_to_convert(tmp_path: Path, packed: bool) -> None:
    records = channel(1, "/image", "sensor_msgs/Image", b"", "ros1msg", "ros1") + record_of(1, 5, b"")
    records = chunk(records, len(records), "") if packed else records
    (tmp_path / "old.mcap").write_bytes(mcap_of(records, "ros1"))
    with pytest.raises(BagError, match=r"rosbags-convert --src .*/old\.bag"), BagReader(tmp_path / "old.mcap"):
        pass


def split_bag(bag: Path, storage: str = "mcap") -> list[Path]:
    """A bag of three files with ten messages each."""
    with BagWriter(bag, storage) as writer:
        for stamp in range(30):
            writer.write_message("/image/compressed", jpeg(stamp), stamp)
    (whole,) = [*bag.glob("*.mcap"), *bag.glob("*.db3")]
    files = []
    for number in range(3):
        with BagWriter(bag.parent / f"{bag.name}_{number}", storage) as writer:
            for stamp in range(10 * number, 10 * number + 10):
                writer.write_message("/image/compressed", jpeg(stamp), stamp)
        (part,) = (bag.parent / f"{bag.name}_{number}").glob(f"*{whole.suffix}")
        files.append(part.rename(bag / part.name))
    whole.unlink()
    names = "".join(f"\n  - {file.name}" for file in files)
    metadata = (bag / "metadata.yaml").read_text()
    (bag / "metadata.yaml").write_text(
        re.sub(r"relative_file_paths:\n *- .*", f"relative_file_paths:{names}", metadata)
    )
    return files


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("damage", ["gone", "empty"])
def test_a_split_bag_is_read_without_the_file_that_is_lost(
    tmp_path: Path, storage: str, lost: int, damage: str
) -> None:
    files = split_bag(tmp_path / "bag", storage)
    files[lost].unlink() if damage == "gone" else files[lost].write_bytes(b"")
    with BagReader(tmp_path / "bag") as reader:
        kept = [stamp for stamp in range(30) if stamp // 10 != lost]
        assert [record.stamp for record in reader.records()] == kept
        assert (reader.start, reader.end, reader.message_count) == (kept[0], kept[-1], 20)
        (told,) = reader.left_out
        assert files[lost].name in told
    for file in files:
        file.unlink(missing_ok=True)
    with pytest.raises(BagError, match=r"none of its files.*bag_0.*bag_2"), BagReader(tmp_path / "bag"):
        pass


@pytest.mark.parametrize("key", ["name", "message_count", "nanoseconds_since_epoch", "nanoseconds"])
@pytest.mark.parametrize("value", ["", "7", "soon", "[1]"])
def test_what_metadata_tell_of_topics_and_times_is_taken_from_the_files(bag: Path, key: str, value: str) -> None:
    metadata = bag / "metadata.yaml"
    total, rest = metadata.read_text().rpartition("\n  message_count:")[::2]
    metadata.write_text(re.sub(rf"\b{key}: .*", f"{key}: {value}", total) + "\n  message_count:" + rest)
    with BagReader(bag) as reader:
        assert (reader.start, reader.end, reader.message_count) == (10**9, 10**9 + 1_800_000_000, 11)
        assert {topic.name: topic.count for topic in reader.topics.values()} == {
            "/question": 1,
            "/image/compressed": 10,
        }
        assert not reader.unfinished


@pytest.mark.parametrize("value", ["", "soon", "[1]"])
def test_a_count_that_is_no_number_is_refused(bag: Path, value: str) -> None:
    metadata = bag / "metadata.yaml"
    metadata.write_text(re.sub(r"\n  message_count: .*", f"\n  message_count: {value}", metadata.read_text()))
    with pytest.raises(BagError, match=r"metadata\.yaml.*reindex"), BagReader(bag):
        pass


def test_missing_bag_is_named(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"/nowhere: no such"), BagReader(tmp_path / "nowhere"):
        pass


def test_ros1_bag_is_told_how_to_convert(tmp_path: Path) -> None:
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(BagError, match="rosbags-convert"), BagReader(tmp_path / "old.bag"):
        pass


def test_folder_without_metadata_names_the_file_to_try(bag: Path) -> None:
    (bag / "metadata.yaml").unlink()
    with pytest.raises(BagError, match=r"metadata\.yaml.*reindex"), BagReader(bag):
        pass


@pytest.mark.parametrize("text", ["", "{", "rosbag2_bagfile_information: {version: 8}", "[1, 2]", "\0"])
def test_damaged_metadata_is_a_bag_error(bag: Path, text: str) -> None:
    (bag / "metadata.yaml").write_text(text)
    with pytest.raises(BagError, match="cannot be read"), BagReader(bag):
        pass


def test_truncated_metadata_is_a_bag_error_or_still_right(bag: Path) -> None:
    whole = (bag / "metadata.yaml").read_text()
    for length in range(0, len(whole), 37):
        (bag / "metadata.yaml").write_text(whole[:length])
        try:
            with BagReader(bag) as reader:
                list(reader.records())
        except BagError as error:
            assert str(bag) in str(error)


def test_truncated_or_flipped_storage_is_a_bag_error_or_still_readable(bag: Path) -> None:
    (file,) = [*bag.glob("*.mcap"), *bag.glob("*.db3")]
    whole = file.read_bytes()
    step = len(whole) // 25
    cut = (whole[:length] for length in range(0, len(whole), step))
    flipped = (whole[:at] + bytes(8) + whole[at + 8 :] for at in range(0, len(whole), step))
    for data in itertools.chain(cut, flipped):
        file.write_bytes(data)
        try:
            with BagReader(bag) as reader:
                for record in reader.records():
                    reader.deserialize(record)
        except BagError as error:
            assert str(bag) in str(error)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_was_done_to_a_bag_it_is_read_or_refused(bag: Path, data: st.DataObject) -> None:
    files = {file: file.read_bytes() for file in bag.iterdir()}
    file = data.draw(st.sampled_from(sorted(files)))
    damaged = bytearray(files[file])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        length = data.draw(st.integers(0, 12))
        damaged[at : at + length] = data.draw(st.binary(max_size=12) | st.just(b"\xff" * length))
    file.write_bytes(damaged)
    try:
        with BagReader(data.draw(st.sampled_from([bag, file]))) as reader:
            for record in reader.records():
                reader.deserialize(record)
            assert all(topic.count >= 0 for topic in reader.topics.values())
    except BagError as error:
        assert str(bag) in str(error)
    finally:
        for name, whole in files.items():
            name.write_bytes(whole)

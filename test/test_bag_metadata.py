# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.assets import bag_path
from edgevlm_ros.bag_metadata import MetadataError, camera_of, likeliest_camera, playable, topics_of
from edgevlm_ros.bags import BagReader
from support.video_bag import TOPICS, packets, video_bag

RAW, JPEG = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def test_it_names_the_camera_that_the_reader_of_bags_names() -> None:
    with BagReader(bag_path("demo")) as bag:
        assert camera_of(bag_path("demo")) == bag.image_topic().name


@pytest.mark.parametrize("kind", TOPICS)
def test_a_video_has_the_name_and_type_that_the_reader_of_bags_gives_it(tmp_path: Path, kind: str) -> None:
    video_bag(tmp_path / "bag", packets(3), kind)
    with BagReader(tmp_path / "bag") as bag:
        assert topics_of(tmp_path / "bag") == [(topic.name, topic.type, topic.count) for topic in bag.topics.values()]
        assert camera_of(tmp_path / "bag") == bag.image_topic().name


def test_topics_that_are_not_in_cdr_are_no_topics(tmp_path: Path) -> None:
    video_bag(tmp_path / "bag", packets(3))
    metadata = tmp_path / "bag" / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("serialization_format: cdr", "serialization_format: json", 1))
    assert [name for name, _, _ in topics_of(tmp_path / "bag")] == ["/said"]


@pytest.mark.parametrize(
    ("topics", "best"),
    [
        ([("/depth/image", RAW, 900), ("/color/image", RAW, 300)], "/color/image"),
        ([("/a", RAW, 300), ("/a/compressed", JPEG, 300)], "/a/compressed"),
        ([("/a", JPEG, 3), ("/b", JPEG, 300)], "/b"),
    ],
)
def test_the_likeliest_camera_is_in_colour_compressed_and_frequent(
    topics: list[tuple[str, str, int]], best: str
) -> None:
    assert likeliest_camera(topics) == best


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "ros2 bag reindex"),
        ("[]", "ros2 bag reindex"),
        ("[" * 3000, "ros2 bag reindex"),
        ("a: &a {x: 1}\n<<: [*a, *a]\n", "no metadata.yaml that can be read"),
        (
            "rosbag2_bagfile_information: {topics_with_message_count: "
            "[{topic_metadata: {name: [/image], type: sensor_msgs/msg/Image}, message_count: 9}]}",
            "a topic's name is a list",
        ),
        ("rosbag2_bagfile_information: {topics_with_message_count: []}", "no images; it has no topics at all"),
    ],
)
def test_a_bag_that_tells_no_camera_is_told(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / "metadata.yaml").write_text(text)
    with pytest.raises(MetadataError, match=told):
        camera_of(tmp_path)


def test_what_the_nodes_of_the_recording_said_is_not_played_beside_ours() -> None:
    kinds = ("Answer", "CloudContext", "Focus", "Metrics", "Question", "Annotation")
    topics = [("/image", RAW, 9), *((f"/{kind}", f"edgevlm_msgs/msg/{kind}", 1) for kind in kinds)]
    topics += [("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", 1)]
    assert playable(topics, asked=False) == ["/image", "/Question", "/Annotation"]
    assert playable(topics, asked=True) == ["/image", "/Annotation"]


def test_the_bundled_bag_is_played_whole_unless_a_question_stands() -> None:
    topics = topics_of(bag_path("demo"))
    assert playable(topics, asked=False) == [name for name, _, _ in topics]
    assert "/question" not in playable(topics, asked=True)

# SPDX-License-Identifier: Apache-2.0
"""The player as a process of its own, heard over DDS."""

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from edgevlm_ros import images
from edgevlm_ros.bag_types import typestore
from edgevlm_ros.bag_writer import STORAGES, BagWriter

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage

from edgevlm_msgs.msg import Question
from support.video_bag import FFMPEG, GRAY, packets
from support.video_bag import message as video

TYPES = typestore().types
START = 1_700_000_000 * 10**9
PERIOD = 50_000_000
COUNT = 40
LENGTH = (COUNT - 1) * PERIOD / 1e9
JPEG = np.frombuffer(images.to_jpeg(np.zeros((24, 32, 3), np.uint8)), np.uint8)


def header(index: int) -> Any:
    stamp = START + index * PERIOD
    return TYPES["std_msgs/msg/Header"](TYPES["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9)), f"camera {index}")


def write_frames(writer: BagWriter, topic: str = "/image/compressed", count: int = COUNT) -> None:
    for index in range(count):
        frame = TYPES["sensor_msgs/msg/CompressedImage"](header(index), "jpeg", JPEG)
        writer.write_message(topic, frame, START + index * PERIOD)


@pytest.fixture
def storage() -> str:
    return "mcap"


@pytest.fixture
def bag(storage: str, tmp_path: Path) -> Path:
    """Two seconds at 20 Hz, and a question."""
    with BagWriter(tmp_path / "bag", storage) as writer:
        question = TYPES["edgevlm_msgs/msg/Question"](header(0), 7, "Where?")
        writer.add_topic("/question", question.__msgtype__)
        writer.write_message("/question", question, START)
        write_frames(writer)
    return tmp_path / "bag"


class Listener:
    """Subscriptions to what the player says, with the times of arrival."""

    def __init__(self, ros: Any, best_effort: bool = False) -> None:
        self.ros = ros
        node = ros.node("listener")
        reliability = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
        self.frames: list[tuple[float, CompressedImage]] = []
        self.clocks: list[int] = []
        self.questions: list[Question] = []
        node.create_subscription(
            CompressedImage,
            "image/compressed",
            lambda message: self.frames.append((time.monotonic(), message)),
            QoSProfile(depth=1000, reliability=reliability),
        )
        node.create_subscription(
            Clock,
            "/clock",
            lambda message: self.clocks.append(message.clock.sec * 10**9 + message.clock.nanosec),
            QoSProfile(depth=1000),
        )
        node.create_subscription(
            Question,
            "question",
            self.questions.append,
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
        )

    def hear_to_the_end(self, player: Any) -> int:
        assert self.ros.spin_until(lambda: player.popen.poll() is not None), player.output
        heard = -1
        while heard != self.heard:  # all that it said was acknowledged before it ended, so it is here to be taken
            heard = self.heard
            for _ in range(3):
                self.ros.executor.spin_once(timeout_sec=0.05)
        return player.wait()

    @property
    def heard(self) -> int:
        return len(self.frames) + len(self.clocks) + len(self.questions)

    @property
    def names(self) -> list[str]:
        return [message.header.frame_id for _, message in self.frames]


def play(ros: Any, bag: Path, **parameters: object) -> Any:
    return ros.run_node("bag_player_node", bag=bag, **{"wait_for_subscribers": 1, **parameters})


@pytest.mark.parametrize("storage", STORAGES)
def test_frames_arrive_in_order_with_their_headers_and_bytes(ros: Any, bag: Path) -> None:
    listener = Listener(ros)
    player = play(ros, bag, rate=4.0)
    assert listener.hear_to_the_end(player) == 0, player.output
    assert listener.names == [f"camera {index}" for index in range(COUNT)]
    assert all(bytes(message.data) == JPEG.tobytes() for _, message in listener.frames)
    assert listener.frames[3][1].header.stamp.nanosec == 3 * PERIOD
    assert "played 41 messages" in player.output


def test_rate_stretches_time(ros: Any, bag: Path) -> None:
    listener = Listener(ros)
    player = play(ros, bag, rate=0.8)
    assert listener.hear_to_the_end(player) == 0
    took = re.search(r"played 41 messages in ([\d.]+) s", player.output)
    assert took, player.output
    assert float(took[1]) >= round(LENGTH / 0.8, 1), "no frame is early, however late this machine makes them"


def test_rate_shrinks_time(ros: Any, bag: Path) -> None:
    listener = Listener(ros)
    assert listener.hear_to_the_end(play(ros, bag, rate=40.0)) == 0
    assert listener.frames[-1][0] - listener.frames[0][0] < LENGTH


def test_clock_follows_the_bag(ros: Any, bag: Path) -> None:
    listener = Listener(ros)
    assert listener.hear_to_the_end(play(ros, bag, wait_for_clock=1)) == 0
    playing = [stamp for stamp in listener.clocks if stamp > START]
    assert len(playing) > 10
    assert playing == sorted(playing)
    assert START <= listener.clocks[0] < START + 10 * PERIOD
    assert playing[-1] == START + (COUNT - 1) * PERIOD


def test_clock_can_be_left_to_others(ros: Any, bag: Path) -> None:
    listener = Listener(ros)
    assert listener.hear_to_the_end(play(ros, bag, rate=4.0, clock_rate=0.0)) == 0
    assert (listener.clocks, len(listener.frames)) == ([], COUNT)


def test_best_effort_subscriber_is_served_too(ros: Any, bag: Path) -> None:
    listener = Listener(ros, best_effort=True)
    player = play(ros, bag, loop=True)
    assert ros.spin_until(lambda: len(listener.frames) > 10), player.output


def test_loop_begins_again_with_the_same_stamps(ros: Any, bag: Path) -> None:
    listener = Listener(ros)
    player = play(ros, bag, rate=4.0, loop=True)
    assert ros.spin_until(lambda: len(listener.frames) > 2 * COUNT), player.output
    assert player.interrupt() == 0, player.output
    assert listener.names[: 2 * COUNT] == 2 * [f"camera {index}" for index in range(COUNT)]


def test_question_reaches_who_comes_late(ros: Any, bag: Path) -> None:
    listener = Listener(ros)
    player = play(ros, bag, loop=True)
    assert ros.spin_until(lambda: listener.frames), player.output
    late = Listener(ros)
    assert ros.spin_until(lambda: late.questions), player.output
    assert late.questions[0].text == "Where?"


def test_only_named_topics_are_played(ros: Any, bag: Path) -> None:
    listener = Listener(ros)
    player = play(ros, bag, topics="image/compressed", rate=10.0)
    assert listener.hear_to_the_end(player) == 0, player.output
    assert (len(listener.frames), listener.questions) == (COUNT, [])


def test_nobody_listening_does_not_hold_it_for_ever(ros: Any, bag: Path) -> None:
    player = play(ros, bag, wait_timeout=0.3, rate=20.0, wait_for_topics="question")
    assert player.wait() == 0
    assert "playing without all subscriptions: 0 of 1 to /image/compressed, 0 of 1 to /question" in player.output


def test_it_waits_for_whoever_is_to_hear_the_clock(ros: Any, bag: Path) -> None:
    Listener(ros)  # one of two
    player = play(ros, bag, wait_timeout=0.3, rate=20.0, wait_for_clock=2)
    assert player.wait() == 0
    assert re.search("playing without all subscriptions: .*[01] of 2 to /clock", player.output), player.output


def test_it_waits_for_whoever_is_to_hear_the_other_topics(ros: Any, bag: Path) -> None:
    listener = Listener(ros)  # hears /question
    player = play(ros, bag, wait_for_topics="question", rate=10.0)
    assert listener.hear_to_the_end(player) == 0, player.output
    assert "playing without" not in player.output


def test_terminated_player_ends_in_peace(ros: Any, bag: Path) -> None:
    listener = Listener(ros)
    player = play(ros, bag, loop=True)
    assert ros.spin_until(lambda: listener.frames), player.output
    player.popen.terminate()
    assert player.wait() == 0
    assert "Traceback" not in player.output


def test_type_that_is_not_installed_is_left_out_with_a_warning(ros: Any, tmp_path: Path) -> None:
    theirs = get_typestore(Stores.ROS2_JAZZY)
    theirs.register(get_types_from_msg("float64 charge\n", "their_msgs/msg/Battery"))
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        image = writer.add_connection("/image/compressed", "sensor_msgs/msg/CompressedImage", typestore=theirs)
        battery = writer.add_connection("/battery", "their_msgs/msg/Battery", typestore=theirs)
        for index in range(3):
            frame = theirs.types["sensor_msgs/msg/CompressedImage"](header(index), "jpeg", JPEG)
            writer.write(image, START + index, theirs.serialize_cdr(frame, "sensor_msgs/msg/CompressedImage"))
            charge = theirs.types["their_msgs/msg/Battery"](charge=0.5)
            writer.write(battery, START + index, theirs.serialize_cdr(charge, "their_msgs/msg/Battery"))
    listener = Listener(ros)
    player = play(ros, tmp_path / "bag")
    assert listener.hear_to_the_end(player) == 0, player.output
    assert len(listener.frames) == 3
    assert player.output.count("/battery is not played: their_msgs/msg/Battery is not installed here") == 1


def test_video_is_played_as_images_and_what_showed_none_is_told(ros: Any, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    coded = packets(30, 10)[2:]
    with BagWriter(bag) as writer:
        for at, (number, data) in enumerate(coded):
            writer.write_message("/image/ffmpeg", video(FFMPEG, number, data, "h264"), START + at * PERIOD)
    listener = Listener(ros)
    player = play(ros, bag)
    assert listener.hear_to_the_end(player) == 0
    pictures = [images.to_rgb(message) for _, message in listener.frames]
    assert [round(float(picture.mean()) / GRAY) for picture in pictures] == list(range(10, 30))
    assert "/image/compressed that show no frame: 8 (no keyframe before it)" in player.output


def test_unreadable_message_is_left_out_and_the_rest_is_played(ros: Any, tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        write_frames(writer, count=2)
        writer.write(
            "/image/compressed", "sensor_msgs/msg/CompressedImage", START + 2 * PERIOD, b"\0\1\0\0\xff\xff\xff"
        )
        frame = TYPES["sensor_msgs/msg/CompressedImage"](header(3), "jpeg", JPEG)
        writer.write_message("/image/compressed", frame, START + 3 * PERIOD)
    listener = Listener(ros)
    player = play(ros, tmp_path / "bag")
    assert listener.hear_to_the_end(player) == 0, player.output
    assert listener.names == ["camera 0", "camera 1", "camera 3"]
    assert "1 left out as unreadable" in player.output


def write_at(path: Path, *stamps: int) -> Path:
    with BagWriter(path) as writer:
        for index, stamp in enumerate(stamps):
            frame = TYPES["sensor_msgs/msg/CompressedImage"](header(index), "jpeg", JPEG)
            writer.write_message("/image/compressed", frame, stamp)
    return path


def test_a_stamp_of_zero_and_one_far_ahead_are_not_waited_for(ros: Any, tmp_path: Path) -> None:
    far = 4_000_000_000 * 10**9
    bag = write_at(tmp_path / "bag", 0, START, START + PERIOD, far)
    listener = Listener(ros)
    player = play(ros, bag, wait_for_clock=1)
    assert listener.hear_to_the_end(player) == 0, player.output
    assert listener.names == [f"camera {index}" for index in range(4)]
    assert "hours without a message are left out" in player.output
    assert player.output.count("no /clock: the bag's stamps are beyond 2038") == 1
    assert START + PERIOD in range(max(listener.clocks) - PERIOD, max(listener.clocks) + PERIOD + 1)


@pytest.mark.parametrize("rate", [1.0, 100.0])
def test_a_bag_of_one_message_loops_without_haste(ros: Any, tmp_path: Path, rate: float) -> None:
    listener = Listener(ros)
    player = play(ros, write_at(tmp_path / "bag", START), loop=True, rate=rate)
    assert ros.spin_until(lambda: len(listener.frames) > 10), player.output
    assert listener.frames[-1][0] - listener.frames[0][0] >= 0.09 * (len(listener.frames) - 2)


def test_topics_that_end_early_loop_with_the_bag(ros: Any, bag: Path) -> None:
    listener = Listener(ros)
    player = play(ros, bag, loop=True, rate=4.0, topics="question", wait_for_topics="question", wait_for_subscribers=0)
    assert ros.spin_until(lambda: listener.questions), player.output
    begun = time.monotonic()
    assert ros.spin_until(lambda: len(listener.questions) > 4), player.output
    assert time.monotonic() - begun > 3 * LENGTH / 4.0


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"bag": "/no/such/bag"}, "/no/such/bag: no such file or folder"),
        ({"rate": 0.0}, "rate = 0.0: it takes 0.01 to 100"),
        ({"rate": "fast"}, "rate = 'fast': it takes a number"),
        ({"topics": "/image/compressed /lidar"}, "has no /lidar; its topics are /image/compressed /question"),
    ],
)
def test_bad_parameter_is_one_clear_line_and_exit_code_2(
    ros: Any, bag: Path, parameters: dict[str, object], says: str
) -> None:
    player = ros.run_node("bag_player_node", **{"bag": bag, **parameters})
    assert player.wait() == 2
    said = [line for line in player.lines if not line.startswith("[INFO]")]
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert says in player.output


def test_bag_without_images_is_one_clear_line_and_exit_code_2(ros: Any, tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_message("/note", TYPES["std_msgs/msg/String"]("hello"), START)
    player = ros.run_node("bag_player_node", bag=tmp_path / "bag")
    assert player.wait() == 2
    assert "no images; it has /note (std_msgs/msg/String, 1)" in player.output

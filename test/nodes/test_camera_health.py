# SPDX-License-Identifier: Apache-2.0
"""Each thing that can be wrong with a camera is named, with what to do, from plain values."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from edgevlm_ros.bag_metadata import VIDEO_TYPES
from edgevlm_ros.nodes import camera_health, qos
from edgevlm_ros.nodes.arrivals import Arrival
from edgevlm_ros.nodes.camera_health import COMPRESSED, RAW, Clocks, Graph, Publisher, Wanted

S = 10**9
START = 1_700_000_000 * S
WANTED = Wanted("image", "/camera/image_raw", RAW, qos.NEWEST_IMAGE)
CAMERA = Publisher("/camera/driver", RAW, qos.EVENTS)
WALL = Clocks(sim=False, wall=START, node=START, publishers=0)


def silence(graph: Graph, wanted: Wanted = WANTED, seen: bool = False, paused: bool = False) -> str:
    level, text = camera_health.no_image(wanted, graph, 6.0, seen, paused)
    assert level == DiagnosticStatus.WARN
    assert text.startswith(f"no image on {wanted.topic} for 6 s")
    return text


def stream(count: int = 30, age: float = 0.05, step: float = 1 / 30, clock: int = START) -> list[Arrival]:
    """Images at 30 Hz, all of that age."""
    times = [number / 30 for number in range(count)]
    return [
        Arrival(at, round(clock + number * step * S - age * S), round(clock + at * S))
        for number, at in enumerate(times)
    ]


def stamps(arrivals: list[Arrival], clocks: Clocks = WALL) -> str:
    health = camera_health.bad_stamps("/image", arrivals, clocks, ["/b", "/a"])
    return "" if health is None else health[1]


# -- no image ----------------------------------------------------------------------------------------------------------


def test_without_any_image_topic_the_driver_and_the_domain_are_looked_at() -> None:
    text = silence(Graph(7, []))
    assert "No image topic exists at all in ROS domain 7" in text
    assert "start the camera driver" in text
    assert "ROS_DOMAIN_ID" in text


def test_the_same_name_in_the_other_transport_comes_first() -> None:
    others = {
        "/camera/image": (RAW, 1),
        "/camera/image_raw/compressed": (COMPRESSED, 2),
        "/camera/depth/image_raw": (RAW, 1),
    }
    text = silence(Graph(0, [], others))
    assert "nobody publishes it" in text
    assert text.index("/camera/image_raw/compressed (2 publishers)") < text.index("/camera/image (1 publisher)")
    assert text.endswith("If /camera/image_raw/compressed is meant, set image_transport:=compressed")


def test_the_nearest_name_is_proposed_and_depth_last() -> None:
    others = {"/depth/image_raw": (RAW, 1), "/front/image_raw": (RAW, 1), "/thermal": (RAW, 1)}
    wanted = replace(WANTED, topic="/frnt/image_raw")
    assert camera_health.likeliest(wanted, others) == ["/front/image_raw", "/thermal", "/depth/image_raw"]
    text = silence(Graph(0, [], others), wanted)
    assert text.endswith("remap 'image' to /front/image_raw (launch: image_topic:=/front/image_raw)")


def test_one_camera_of_several_is_remapped_by_its_own_name() -> None:
    wanted = Wanted("front/image", "/robot/front/image/compressed", COMPRESSED, qos.NEWEST_IMAGE)
    text = silence(Graph(0, [], {"/cam0/image_raw": (RAW, 1)}), wanted)
    assert text.endswith("remap 'front/image' to /cam0/image_raw and set image_transport:=raw")


@pytest.mark.parametrize("kind", VIDEO_TYPES)
def test_a_camera_that_publishes_only_video_is_told_from_none_and_comes_after_every_image(kind: str) -> None:
    video = {"/camera/image_raw/ffmpeg": (kind, 1)}
    text = silence(Graph(0, [], video))
    assert "/camera/image_raw/ffmpeg is video" in text
    assert "republish" in text
    image = {"/elsewhere": (COMPRESSED, 1)}
    assert camera_health.likeliest(WANTED, {**video, **image}) == ["/elsewhere", "/camera/image_raw/ffmpeg"]
    health = camera_health.unreachable(WANTED, Graph(0, [replace(CAMERA, type=kind)]))
    assert health is not None
    assert "it is video" in health[1]


def test_many_topics_are_counted_and_not_all_told() -> None:
    text = silence(Graph(0, [], {f"/cam{number}/image": (RAW, 1) for number in range(20)}))
    assert "and 14 more" in text
    assert text.count("1 publisher") == 6


def test_a_publisher_that_is_silent_is_named() -> None:
    text = silence(Graph(0, [CAMERA]), seen=True)
    assert "1 publisher (/camera/driver), but nothing comes" in text
    assert "ros2 topic hz /camera/image_raw" in text


def test_the_way_over_a_slow_network_is_not_proposed_to_who_takes_it_already() -> None:
    compressed = Wanted("image", "/image/compressed", COMPRESSED, qos.NEWEST_IMAGE)
    assert "image_transport" in silence(Graph(0, [CAMERA]))
    assert "image_transport" not in silence(Graph(0, [replace(CAMERA, type=COMPRESSED)]), compressed)


def test_a_camera_that_was_there_is_called_gone() -> None:
    assert "its publisher has gone" in silence(Graph(0, []), seen=True)


def test_a_paused_bag_is_no_broken_camera() -> None:
    assert "paused" in silence(Graph(0, [CAMERA]), seen=True, paused=True)


@pytest.mark.parametrize(
    ("topic", "kind", "choice"),
    [
        ("/camera/image_raw", RAW, True),
        ("/camera/image_raw/compressed", COMPRESSED, True),
        ("/camera/image_raw/compressedDepth", COMPRESSED, False),
        ("/robot/focus/map", RAW, False),
        ("/focus/overlay", RAW, False),
        ("/points", "sensor_msgs/msg/PointCloud2", False),
    ],
)
def test_our_own_pictures_and_what_is_no_picture_are_not_proposed(topic: str, kind: str, choice: bool) -> None:
    assert camera_health.is_choice(topic, [kind]) is choice


# -- publishers that cannot reach us -----------------------------------------------------------------------------------


def test_an_image_topic_that_is_compressed_names_the_transport() -> None:
    publisher = replace(CAMERA, type=COMPRESSED)
    health = camera_health.unreachable(replace(WANTED, topic="/camera/image_raw/compressed"), Graph(0, [publisher]))
    assert health is not None
    assert "/camera/driver: sensor_msgs/msg/CompressedImage" in health[1]
    assert "remap 'image' to /camera/image_raw and set image_transport:=compressed" in health[1]


def test_a_compressed_image_on_a_raw_name_needs_a_second_remapping() -> None:
    health = camera_health.unreachable(WANTED, Graph(0, [replace(CAMERA, type=COMPRESSED)]))
    assert health is not None
    assert "remap /camera/image_raw/compressed to /camera/image_raw" in health[1]


def test_a_topic_of_no_image_type_is_named_with_it() -> None:
    health = camera_health.unreachable(WANTED, Graph(0, [replace(CAMERA, type="sensor_msgs/msg/PointCloud2")]))
    assert health is not None
    assert "sensor_msgs/msg/PointCloud2" in health[1]


def test_a_node_that_publishes_twice_is_judged_by_each_of_its_publishers() -> None:
    graph = Graph(0, [CAMERA, replace(CAMERA, profile=qos.NEWEST_IMAGE)])
    assert camera_health.unreachable(replace(WANTED, profile=qos.EVENTS), graph) is None


def test_one_publisher_of_the_right_kind_is_enough() -> None:
    reliable = replace(WANTED, profile=qos.EVENTS)
    lossy = Publisher("/lossy", RAW, qos.NEWEST_IMAGE)
    assert camera_health.unreachable(reliable, Graph(0, [])) is None
    assert camera_health.unreachable(reliable, Graph(0, [lossy, CAMERA, replace(CAMERA, type=COMPRESSED)])) is None


@pytest.mark.parametrize(
    ("offered", "requested", "policy"),
    [
        (QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT), qos.EVENTS, "reliable"),
        (QoSProfile(depth=1, durability=DurabilityPolicy.VOLATILE), qos.LATCHED, "transient local"),
        (qos.EVENTS, QoSProfile(depth=1, deadline=Duration(seconds=1)), "deadline"),
    ],
)
def test_the_policy_that_does_not_fit_is_named(offered: QoSProfile, requested: QoSProfile, policy: str) -> None:
    wanted = replace(WANTED, profile=requested)
    health = camera_health.unreachable(wanted, Graph(0, [Publisher("/driver", RAW, offered)]))
    assert health is not None
    assert "incompatible QoS (/driver: " in health[1]
    assert policy in health[1].lower()


def test_every_usual_camera_profile_reaches_our_subscription() -> None:
    for reliability in (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT):
        for durability in (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL):
            offered = QoSProfile(depth=5, reliability=reliability, durability=durability)
            assert camera_health.incompatibility(offered, qos.NEWEST_IMAGE) == ""


def test_what_the_middleware_told_counts_where_the_graph_does_not_know_the_profile() -> None:
    vague = QoSProfile(depth=1, reliability=ReliabilityPolicy.UNKNOWN)
    reliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    assert camera_health.incompatibility(vague, reliable) == ""
    assert camera_health.incompatibility(vague, reliable, "RELIABILITY") == "policy RELIABILITY"


# -- stamps ------------------------------------------------------------------------------------------------------------


def test_stamps_of_a_good_camera_are_no_matter() -> None:
    assert stamps(stream()) == ""
    assert stamps(stream(age=0.8)) == ""
    assert stamps(stream(age=-0.1)) == ""
    assert stamps([]) == ""


def test_images_without_a_stamp_are_the_drivers_matter() -> None:
    assert "no stamp (0): set header.stamp" in stamps([a._replace(stamp=0) for a in stream()])


def test_a_stamp_that_stands_still_is_told_but_not_of_a_few_images() -> None:
    standing = [a._replace(stamp=START) for a in stream(90)]
    assert "have the same stamp" in stamps(standing)
    assert stamps(standing[:20]) == ""


def test_two_cameras_on_one_topic_are_told_by_their_stamps() -> None:
    mixed = [a._replace(stamp=a.stamp - (number % 2) * S // 2) for number, a in enumerate(stream())]
    text = stamps(mixed)
    assert "jumped back 15 times" in text
    assert "(/a, /b)" in text


def test_a_loop_of_a_bag_is_no_fault() -> None:
    first, again = stream(30), stream(30)
    assert stamps([*first, *(a._replace(time=a.time + 1) for a in again)]) == ""


def test_old_stamps_tell_their_age_and_where_to_look() -> None:
    text = stamps(stream(age=3600))
    assert "stamped 3600.0 s old when they come, so by another clock" in text
    assert "chrony" in text
    assert "--clock" in text


def test_with_a_clock_published_use_sim_time_is_proposed() -> None:
    assert "set use_sim_time:=true" in stamps(stream(age=3600), replace(WALL, publishers=1))


def test_stamps_since_the_start_of_the_driver_are_recognised() -> None:
    assert "time since it started" in stamps(stream(age=START * 1e-9 - 100))


def test_a_camera_on_wall_time_beside_a_simulation_is_recognised() -> None:
    sim = Clocks(sim=True, wall=START, node=50 * S, publishers=1)
    arrivals = stream(age=50 - START * 1e-9, clock=50 * S)
    text = stamps(arrivals, sim)
    assert "s in the future" in text
    assert "wall time while this node has use_sim_time" in text


def test_a_simulation_that_is_not_ours_is_told() -> None:
    sim = Clocks(sim=True, wall=START, node=5000 * S, publishers=1)
    assert "from one bag or simulation" in stamps(stream(age=100, clock=5000 * S), sim)


def test_simulated_time_that_never_came_is_told() -> None:
    sim = Clocks(sim=True, wall=START, node=0, publishers=0)
    text = stamps([a._replace(clock=0) for a in stream()], sim)
    assert "use_sim_time is true, but no time has come on /clock (0 publishers)" in text


def test_images_from_before_the_first_clock_are_not_judged() -> None:
    sim = Clocks(sim=True, wall=START, node=START, publishers=1)
    before, after = stream(20), stream(3)
    assert stamps([*(a._replace(clock=0) for a in before), *after], sim) == ""


def test_slow_ways_and_clocks_that_differ_a_little_are_told_apart_from_other_clocks() -> None:
    late, early = stamps(stream(age=2.5)), stamps(stream(age=-1.5))
    assert "2.5 s old" in late
    assert "image_transport:=compressed" in late
    assert "1.5 s in the future" in early
    assert "another clock" not in late + early


def test_images_that_get_lost_are_told_with_what_to_do() -> None:
    health = camera_health.lost_images("/image", came=30, lost=45)
    assert health is not None
    assert health[0] == DiagnosticStatus.WARN
    assert "45 of 75 images" in health[1]
    assert "config/fastdds.xml" in health[1]
    compressed = camera_health.lost_images("/image/compressed", came=30, lost=45)
    assert compressed is not None
    assert "fastdds" not in compressed[1]
    assert camera_health.lost_images("/image", came=70, lost=5) is None
    assert camera_health.lost_images("/image", came=2, lost=2) is None


@pytest.mark.parametrize(
    ("waited", "publishers", "level"),
    [
        (None, 1, DiagnosticStatus.OK),  # no image yet
        (1.0, 1, DiagnosticStatus.OK),
        (20.0, 1, DiagnosticStatus.WARN),
        (20.0, 0, DiagnosticStatus.OK),  # the edge node loads
        (90.0, 0, DiagnosticStatus.WARN),
    ],
)
def test_a_question_is_missed_once_somebody_could_have_asked_one(
    waited: float | None, publishers: int, level: bytes
) -> None:
    assert camera_health.no_question("front/", waited, publishers)[0] == level


@pytest.mark.parametrize(("silent", "level"), [(6.0, DiagnosticStatus.OK), (90.0, DiagnosticStatus.WARN)])
def test_a_bag_that_has_not_begun_is_no_camera_that_is_silent(silent: float, level: bytes) -> None:
    clocks = Clocks(sim=True, wall=START, node=0, publishers=0)
    assert camera_health.no_image(WANTED, Graph(0, []), silent, False, clocks=clocks)[0] == level

# SPDX-License-Identifier: Apache-2.0
"""Do images come on the camera's topic, of a kind that the edge node takes, at what rate and with whose time?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from edgevlm_ros.doctor.finding import Finding, fail, ok, warn
from edgevlm_ros.doctor.participant import DISCOVERY_S, Participant, participant
from edgevlm_ros.nodes import qos

TYPES: dict[str, Any] = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
_LISTEN_S = 2.0
_FIRST_S = 3.0
_OLD_S, _AHEAD_S = 1.0, 0.1
_OTHER_CLOCK_S = 60.0


@dataclass(frozen=True, slots=True)
class Source:
    """Who publishes on a topic. type: as ROS names it."""

    node: str
    type: str
    reliable: bool


@dataclass(slots=True)
class Heard:
    """What came. times: of arrival, seconds on the steady clock. ages: seconds from stamp to arrival, by ROS time."""

    times: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    newest: Any = None


def check(topic: str, namespace: str = "") -> Iterator[Finding]:
    """topic: the camera's, with or without /compressed; both transports are looked at."""
    with participant(namespace) as here:
        name = here.node.resolve_topic_name(topic.removesuffix("/compressed"))
        transports = {"raw": name, "compressed": f"{name}/compressed"}
        here.wait(lambda: any(map(here.node.count_publishers, transports.values())), DISCOVERY_S)
        present = {kind: sources(here, each) for kind, each in transports.items() if here.node.count_publishers(each)}
        if not present:
            here.wait(lambda: False, 0.5)
            yield nobody(name, image_topics(here))
        for kind, found in present.items():
            publisher = published(transports[kind], kind, found)
            yield publisher
            if publisher.level != "fail":
                heard = listen(here, transports[kind], found[0].type)
                yield rate(kind, heard)
                if heard.times:
                    yield convertible(kind, heard.newest)
                    yield stamps(kind, heard.ages)


def sources(here: Participant, topic: str) -> list[Source]:
    infos = here.node.get_publishers_info_by_topic(topic)
    return [
        Source(
            f"{info.node_namespace.rstrip('/')}/{info.node_name}",
            info.topic_type,
            info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
        )
        for info in infos
    ]


def image_topics(here: Participant) -> list[str]:
    """Names of the topics on which images are published."""
    named = here.node.get_topic_names_and_types()
    return sorted(name for name, types in named if set(types) & set(TYPES) and here.node.count_publishers(name))


def nobody(topic: str, others: Sequence[str]) -> Finding:
    """others: image topics that are published."""
    if others:
        fix = f"there are {', '.join(others[:8])}: image_topic:=ONE_OF_THEM, without /compressed"
    else:
        fix = "no image topic at all is published: start the camera's driver, and compare ROS_DOMAIN_ID in both shells"
    return fail("topic", f"nobody publishes on {topic}", fix)


def published(topic: str, transport: str, found: Sequence[Source]) -> Finding:
    wanted = "sensor_msgs/msg/CompressedImage" if transport == "compressed" else "sensor_msgs/msg/Image"
    first = found[0]
    if first.type != wanted:
        return fail(transport, f"{topic} is a {first.type}, not a {wanted}", "take the camera's colour image topic")
    words = f"{topic} from {', '.join(source.node for source in found)}"
    if len(found) > 1:
        return warn(transport, words, "several publish on it: their frames get mixed up; leave one")
    return ok(transport, f"{words}, {'reliable' if first.reliable else 'best effort'}")


def listen(here: Participant, topic: str, kind: str) -> Heard:
    """What comes within two seconds of the first image, taken as the edge node takes it."""
    heard = Heard()

    def take(message: Any) -> None:
        stamp = message.header.stamp
        heard.times.append(time.monotonic())
        heard.ages.append(here.node.get_clock().now().nanoseconds / 1e9 - stamp.sec - stamp.nanosec / 1e9)
        heard.newest = message

    subscription = here.node.create_subscription(TYPES[kind], topic, take, qos.NEWEST_IMAGE)
    if here.wait(lambda: heard.times, _FIRST_S):
        here.wait(lambda: False, _LISTEN_S)
    here.node.destroy_subscription(subscription)
    return heard


def rate(transport: str, heard: Heard) -> Finding:
    name = f"{transport} rate"
    if not heard.times:
        fix = "see the driver's log; if `ros2 topic hz` does see images, see `raw images` above"
        return fail(name, f"a publisher, but no image in {_FIRST_S:g} s", fix)
    span = heard.times[-1] - heard.times[0]
    if len(heard.times) < 2 or span <= 0.0:
        return warn(name, f"one image in {_LISTEN_S:g} s", "fine for a slow camera; else see `raw images` above")
    return ok(name, f"{(len(heard.times) - 1) / span:.1f} Hz")


def convertible(transport: str, message: Any) -> Finding:
    """Whether the nodes can read this image."""
    from edgevlm_ros.images import ImageError, to_rgb

    name = f"{transport} images"
    try:
        height, width, _ = to_rgb(message).shape
    except ImageError as error:
        return fail(name, str(error), "take the camera's colour image topic")
    encoding = message.format if hasattr(message, "format") else message.encoding
    return ok(name, f"{width}x{height} {encoding}")


def stamps(transport: str, ages: Sequence[float]) -> Finding:
    """ages: seconds from stamp to arrival, by the system's clock."""
    name, age = f"{transport} stamps", statistics.median(ages)
    words = f"{age:.3f} s old" if abs(age) < _OTHER_CLOCK_S else f"{abs(age):.0f} s {'old' if age > 0 else 'ahead'}"
    if abs(age) >= _OTHER_CLOCK_S:
        fix = "a bag or a simulation: use_sim_time:=true; else the driver must stamp with ROS time"
        return warn(name, f"{words}: stamps of another clock", fix)
    if age < -_AHEAD_S:
        return warn(name, f"{-age:.3f} s ahead", "the camera's machine has another time: set up NTP or PTP on both")
    if age > _OLD_S:
        return warn(name, words, "the driver or the network is slow, or the clocks of two machines differ: NTP or PTP")
    return ok(name, words)

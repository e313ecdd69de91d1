# SPDX-License-Identifier: Apache-2.0
"""What keeps a camera's images from being of use, in words that say what to do.

The first complaint about a vision node is "no output", and its cause is nearly always a topic name, a transport, a
QoS policy or a clock. Each can be seen in what the ROS graph and the stamps say, so the node says it. Everything here
is a function of plain values; camera_input collects them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import pairwise

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

from edgevlm_ros.bag_metadata import IMAGE_TYPES, VIDEO_TYPES
from edgevlm_ros.nodes.arrivals import WINDOW_S, Arrival, typical_age

Health = tuple[bytes, str]
"""Level of a DiagnosticStatus, and what it says."""

RAW, COMPRESSED = IMAGE_TYPES
NO_IMAGE_AFTER_S = 5.0
OTHER_CLOCK_S = 10.0
"""An image that is older than this, or as far in the future, was not late: it was stamped by another clock."""
_LATE_S = 1.0
_FUTURE_S = 0.5  # a simulation's /clock often ticks at 10 Hz or slower, and images come between two ticks
_STANDING_IMAGES, _STANDING_S = 5, 2.0
_JUMPS_BACK = 3  # a looping bag jumps once a round
_LISTED = 6
_BEGINS_S = 60.0  # that a bag or a simulation may take to begin, or an edge model to load
_NO_QUESTION_S = 5.0
_FEWEST_LOST, _LOST_SHARE = 5, 0.1
_LARGE_IMAGES = "Fast DDS's profile config/fastdds.xml at both ends, or image_transport:=compressed"
_YEAR_S = 365 * 86400
_VIDEO = (
    "video, which these nodes do not decode: let the camera publish JPEG or raw images too, or republish it as raw "
    "(for ffmpeg_image_transport: ros2 run image_transport republish, in_transport ffmpeg)"
)
_OWN = ("/focus/map", "/focus/overlay", "/focus/overlay/compressed")


@dataclass(frozen=True, slots=True)
class Publisher:
    """One publisher of a topic, as the graph knows it."""

    node: str
    type: str
    profile: QoSProfile


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a camera input subscribes to.

    name: as the node calls it, before remapping and without /compressed, such as 'image' or 'front/image'
    topic: as it is resolved, with /compressed if that is the transport
    """

    name: str
    topic: str
    type: str
    profile: QoSProfile


@dataclass(frozen=True, slots=True)
class Graph:
    """What of the ROS graph matters to one camera.

    others: image topics with at least one publisher -> their type and how many publish
    policy: the QoS policy that the middleware last called incompatible; empty if it did not
    """

    domain: int
    publishers: Sequence[Publisher]
    others: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What of the clocks matters. wall and node: nanoseconds now; publishers: of /clock."""

    sim: bool
    wall: int
    node: int
    publishers: int


def unreachable(wanted: Wanted, graph: Graph) -> Health | None:
    """Publishers of the topic that can never reach this subscription: of another type, or with another QoS."""
    if not graph.publishers:
        return None
    right = [publisher for publisher in graph.publishers if publisher.type == wanted.type]
    if not right:
        return _warn(_wrong_type(wanted, graph.publishers))
    reasons = [incompatibility(publisher.profile, wanted.profile, graph.policy) for publisher in right]
    if not all(reasons):
        return None
    told = "; ".join(f"{publisher.node}: {reason}" for publisher, reason in zip(right, reasons, strict=True))
    return _warn(
        f"no image can come on {wanted.topic}, incompatible QoS ({told}): "
        "change that policy where the images are published"
    )


def incompatibility(offered: QoSProfile, requested: QoSProfile, policy: str = "") -> str:
    """Why a publisher's profile cannot serve a subscription's; empty if it can.

    policy: what the middleware told, for a publisher whose profile the graph does not know in full
    """
    compatibility, reason = qos_check_compatible(offered, requested)
    if compatibility == QoSCompatibility.ERROR:
        return reason.removeprefix("ERROR: ").rstrip("; ")
    return f"policy {policy}" if policy and compatibility == QoSCompatibility.WARNING else ""


def no_image(
    wanted: Wanted, graph: Graph, silent: float, seen: bool, paused: bool = False, clocks: Clocks | None = None
) -> Health:
    """silent: seconds without an image; seen: whether one came before; paused: the node's (sim) time stands still."""
    text = f"no image on {wanted.topic} for {silent:.0f} s"
    if clocks is not None and clocks.sim and not clocks.node and not seen:
        level = DiagnosticStatus.OK if silent < _BEGINS_S else DiagnosticStatus.WARN
        return level, f"{text}, and no time on /clock: the bag or the simulation has not begun"
    names = ", ".join(sorted(publisher.node for publisher in graph.publishers))
    if paused and graph.publishers:
        return _warn(f"{text}, and /clock stands still: the bag or the simulation is paused")
    if graph.publishers:
        lost = f"; large images that get lost need {_LARGE_IMAGES}"
        return _warn(
            f"{text}: {_count(len(graph.publishers))} ({names}), but nothing comes. Look whether the camera "
            f"streams (ros2 topic hz {wanted.topic}){lost if wanted.type == RAW else ''}"
        )
    text += ", and nobody publishes it" if not seen else ", its publisher has gone: is the camera driver still running?"
    if not graph.others:
        return _warn(
            f"{text}. No image topic exists at all in ROS domain {graph.domain}: start the camera driver, with "
            "this node's ROS_DOMAIN_ID and RMW_IMPLEMENTATION"
        )
    ranked = likeliest(wanted, graph.others)
    listed = ", ".join(f"{topic} ({_count(graph.others[topic][1])})" for topic in ranked[:_LISTED])
    more = f" and {len(ranked) - _LISTED} more" if len(ranked) > _LISTED else ""
    best = ranked[0]
    return _warn(f"{text}. Image topics there are: {listed}{more}. {advice(wanted, best, graph.others[best][0])}")


def likeliest(wanted: Wanted, others: Mapping[str, tuple[str, int]]) -> list[str]:
    """Image topics by how likely they are the one that is meant, the likeliest first."""
    base = base_name(wanted.topic)

    def rank(topic: str) -> tuple[bool, bool, bool, float, bool, str]:
        depth = "depth" in topic.lower() and "depth" not in base.lower()
        near = SequenceMatcher(None, base, base_name(topic)).ratio()
        kind = others[topic][0]
        return kind in VIDEO_TYPES, base_name(topic) != base, depth, -near, kind != wanted.type, topic

    return sorted(others, key=rank)


def advice(wanted: Wanted, topic: str, kind: str) -> str:
    """What to set so that the images of another topic are taken."""
    if kind in VIDEO_TYPES:
        return f"{topic} is {_VIDEO}"
    transport = "compressed" if kind == COMPRESSED else "raw"
    steps = []
    if base_name(topic) != base_name(wanted.topic):
        launch = f" (launch: image_topic:={base_name(topic)})" if wanted.name == "image" else ""
        steps.append(f"remap '{wanted.name}' to {base_name(topic)}{launch}")
    if kind != wanted.type:
        steps.append(f"set image_transport:={transport}")
    return f"If {topic} is meant, {' and '.join(steps)}"


def base_name(topic: str) -> str:
    """An image topic without its transport."""
    return topic.removesuffix("/compressed")


def is_choice(topic: str, types: Sequence[str]) -> bool:
    """Whether a topic may be a camera's: our own pictures and image_transport's depth images are not."""
    return not topic.endswith((*_OWN, "/compressedDepth")) and bool(kind_of(types))


def kind_of(types: Sequence[str]) -> str:
    """Of a topic's types the one with images; empty if there is none."""
    return next((kind for kind in (RAW, COMPRESSED, *VIDEO_TYPES) if kind in types), "")


def lost_images(topic: str, came: int, lost: int) -> Health | None:
    """Whether images get lost on the way to this node. came, lost: in the last seconds."""
    if lost < _FEWEST_LOST or lost < _LOST_SHARE * (came + lost):
        return None
    advice = "fewer or smaller images, or a better network" if topic.endswith("/compressed") else _LARGE_IMAGES
    return _warn(
        f"{lost} of {came + lost} images on {topic} got lost in {WINDOW_S:.0f} s before they reached this node: they "
        f"need {advice}"
    )


def no_question(prefix: str, waited: float | None, publishers: int) -> Health:
    """prefix: of the camera's topics. waited: seconds since the first image; None before it. publishers: of the
    question, the edge node among them once its model is loaded."""
    text = (
        f"no question yet: set the edge node's parameter 'question', call '{prefix}set_question', "
        f"or publish on '{prefix}question'"
    )
    if waited is None or waited < (_NO_QUESTION_S if publishers else _BEGINS_S):
        return DiagnosticStatus.OK, text if publishers else "no question yet: the edge node loads or does not run"
    return _warn(text)


def bad_stamps(
    topic: str, arrivals: Sequence[Arrival], clocks: Clocks, publishers: Sequence[str] = ()
) -> Health | None:
    """What the stamps of the last images tell of the clocks; publishers: nodes that publish the topic."""
    if not arrivals:
        return None
    stamps = [arrival.stamp for arrival in arrivals]
    if clocks.sim and clocks.node == 0:
        return _warn(
            f"use_sim_time is true, but no time has come on /clock ({_count(clocks.publishers)}): "
            "start the simulation, play the bag with --clock, or set use_sim_time:=false"
        )
    if not any(stamps):
        return _warn(f"the images on {topic} have no stamp (0): set header.stamp to the capture time in the driver")
    span = arrivals[-1].time - arrivals[0].time
    if len(arrivals) >= _STANDING_IMAGES and span >= _STANDING_S and len(set(stamps)) == 1:
        return _warn(
            f"{len(stamps)} images on {topic} within {span:.0f} s have the same stamp: the driver or its clock stands "
            "still; each image needs its own capture time"
        )
    back = sum(after < before for before, after in pairwise(stamps))
    if back >= _JUMPS_BACK:
        who = f" ({', '.join(sorted(publishers))})" if publishers else ""
        return _warn(
            f"the stamps on {topic} jumped back {back} times within {span:.0f} s: two cameras, bags or clocks publish "
            f"it{who}; leave one"
        )
    known = [arrival for arrival in arrivals if arrival.clock]  # before the first /clock there is no age
    return _bad_age(topic, typical_age(tuple(known)), known[-1], clocks) if known else None


def _bad_age(topic: str, age: float, newest: Arrival, clocks: Clocks) -> Health | None:
    if abs(age) <= OTHER_CLOCK_S and -_FUTURE_S <= age <= _LATE_S:
        return None
    where = f"{age:.1f} s old when they come" if age > 0 else f"{-age:.1f} s in the future"
    text = f"the images on {topic} are stamped {where}"
    if abs(age) <= OTHER_CLOCK_S:
        if age < 0:
            return _warn(f"{text}: the clocks of two machines differ; synchronise them (chrony, PTP)")
        smaller = "" if topic.endswith("/compressed") else " (try image_transport:=compressed)"
        return _warn(
            f"{text}: the network or a buffer of the driver is slow{smaller}, or the clocks of two machines differ "
            "(chrony, PTP)"
        )
    if clocks.sim and abs(clocks.wall - newest.stamp) * 1e-9 <= OTHER_CLOCK_S:
        why = "they have wall time while this node has use_sim_time: set it to true for the camera, or false here"
    elif clocks.sim:
        why = "not by this /clock: take /clock and the images from one bag or simulation"
    elif clocks.publishers:
        why = "somebody publishes /clock: set use_sim_time:=true if the images come from that bag or simulation"
    elif newest.stamp < 10**9 * _YEAR_S:
        why = "the driver stamps with the time since it started; let it stamp with the system's time"
    else:
        why = (
            "the clocks of the camera's machine and this one differ (chrony, PTP), or a bag is played without --clock "
            "(add it, and use_sim_time:=true)"
        )
    return _warn(f"{text}, so by another clock: {why}")


def _count(publishers: int) -> str:
    return f"{publishers} publisher{'' if publishers == 1 else 's'}"


def _wrong_type(wanted: Wanted, publishers: Sequence[Publisher]) -> str:
    told = ", ".join(sorted(f"{publisher.node}: {publisher.type}" for publisher in publishers))
    text = f"no image can come on {wanted.topic}, which is published with another type ({told}; taken: {wanted.type})"
    kinds = {publisher.type for publisher in publishers}
    base = base_name(wanted.topic)
    if kinds & set(VIDEO_TYPES):
        return f"{text}: it is {_VIDEO}"
    if wanted.type == RAW and COMPRESSED in kinds and base != wanted.topic:
        return f"{text}: remap '{wanted.name}' to {base} and set image_transport:=compressed"
    if wanted.type == RAW and COMPRESSED in kinds:
        return (
            f"{text}: set image_transport:=compressed and remap {base}/compressed to {base}, or publish on "
            f"{base}/compressed as image_transport does"
        )
    if wanted.type == COMPRESSED and RAW in kinds:
        return f"{text}: it is no compressed topic; remap '{wanted.name}' to it and set image_transport:=raw"
    return f"{text}: remap '{wanted.name}' to a topic of that type"


def _warn(text: str) -> Health:
    return DiagnosticStatus.WARN, text

# SPDX-License-Identifier: Apache-2.0
"""One camera's images as a node takes them: a subscription that knows whether its images are of use.

What arrives is counted and handed on at once. Whether all is well is asked once a second from outside, and only then
is the ROS graph looked at: what is wrong is said by camera_health.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_policy_name_from_kind
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg

from edgevlm_ros.nodes import arrivals, camera_health, qos
from edgevlm_ros.nodes.arrivals import Arrival, Arrivals
from edgevlm_ros.nodes.camera_health import Clocks, Graph, Health, Publisher, Wanted

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

Take = Callable[[ImageMsg | CompressedImage, float], None]


class CameraInput:
    """The newest image of one camera, and what can be wrong with it."""

    def __init__(
        self, node: Node, topic: str, transport: str, take: Take, profile: QoSProfile = qos.NEWEST_IMAGE
    ) -> None:
        """topic: relative or absolute, without /compressed; remappings of it hold.

        transport: raw or compressed
        take: gets each image and the seconds on the steady clock when it came; must not wait
        """
        self._node, self._take = node, take
        self._began = time.monotonic()
        self._arrivals = Arrivals()
        self._policy = ""
        self._missed: float | None = None
        self._first: float | None = None
        compressed = transport == "compressed"
        kind: Any = CompressedImage if compressed else ImageMsg
        # image_transport names the compressed topic after the remapped one
        name = camera_health.base_name(node.resolve_topic_name(topic)) + "/compressed" if compressed else topic
        subscribe = partial(node.create_subscription, kind, name, self._on_image, profile)
        self._subscription: Any = None
        self._counts_lost = True
        policy, lost = {"incompatible_qos": self._on_incompatible}, {"message_lost": self._on_lost}
        for events in ({**policy, **lost}, policy, {}):  # not every middleware has them
            try:
                self._subscription = subscribe(event_callbacks=SubscriptionEventCallbacks(**events))
                break
            except UnsupportedEventTypeError:
                self._counts_lost = False
        self.topic: str = self._subscription.topic_name
        taken = camera_health.COMPRESSED if compressed else camera_health.RAW
        self._wanted = Wanted(topic, self.topic, taken, profile)

    def close(self) -> None:
        """Takes no more images. May be called again."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    @property
    def last(self) -> float | None:
        """Steady time of the newest image; None before the first."""
        newest = self._arrivals.last()
        return newest.time if newest else None

    @property
    def first(self) -> float | None:
        """Steady time of the first image; None before it."""
        return self._first

    @property
    def rate(self) -> float:
        """Images per second over the last seconds."""
        now = time.monotonic()
        return arrivals.rate(self._arrivals.newest(now), now)

    @property
    def stamp_age(self) -> float:
        """Seconds from the newest image's stamp to its arrival, by the node's clock; NaN before the first."""
        newest = self._arrivals.last()
        return newest.age if newest else math.nan

    def ill(self, now: float) -> Health | None:
        """What keeps the images from coming or from being of use, and what to do; None if all is well.

        now: seconds on the steady clock
        """
        last = self.last
        silent = now - (self._began if last is None else last)
        if last is not None and silent <= camera_health.NO_IMAGE_AFTER_S:
            nodes = [publisher.node for publisher in self._publishers()]
            newest = self._arrivals.newest(now)
            health = camera_health.bad_stamps(self.topic, newest, self._clocks(), nodes)
            return health or camera_health.lost_images(self.topic, len(newest), self._lost(now))
        wanted, graph = replace(self._wanted, profile=self._requested()), self._graph()
        health = camera_health.unreachable(wanted, graph)
        if health is None and silent > camera_health.NO_IMAGE_AFTER_S:
            health = camera_health.no_image(wanted, graph, silent, last is not None, self._paused(), self._clocks())
        if health is not None and health[0] != DiagnosticStatus.OK and self._missed is None:
            self._missed = now - silent
        return health

    def values(self, now: float) -> dict[str, str]:
        """Of the last seconds, for people."""
        newest = self._arrivals.newest(now)
        return {
            "image topic": self.topic,
            "images [Hz]": f"{arrivals.rate(newest, now):.1f}",
            "image jitter [ms]": f"{arrivals.jitter(newest) * 1e3:.1f}",
            "stamp age [ms]": f"{self.stamp_age * 1e3:.1f}",
            f"images lost in {arrivals.WINDOW_S:.0f} s": str(self._lost(now)),
        }

    # -- what comes in -----------------------------------------------------------------------------------------------

    def _on_image(self, message: ImageMsg | CompressedImage) -> None:
        now = time.monotonic()
        stamp = message.header.stamp
        clock = self._node.get_clock().now().nanoseconds
        self._first = self._first or now
        self._arrivals.add(Arrival(now, stamp.sec * 10**9 + stamp.nanosec, clock))
        if self._missed is not None:
            self._node.get_logger().info(f"images come on {self.topic} after {now - self._missed:.0f} s without")
            self._missed = None
        self._take(message, now)

    def _on_lost(self, event: Any) -> None:
        self._arrivals.add_lost(time.monotonic(), event.total_count_change)

    def _lost(self, now: float) -> int:
        """Images of the last seconds that were lost before they came here. What this process was too slow to take is
        not among them as the middleware counts; where it does not, the stamps tell."""
        return self._arrivals.lost(now) if self._counts_lost else arrivals.missing(self._arrivals.newest(now))

    def _on_incompatible(self, event: Any) -> None:
        self._policy = qos_policy_name_from_kind(event.last_policy_kind)

    # -- what the graph says -----------------------------------------------------------------------------------------

    def _graph(self) -> Graph:
        domain = self._node.context.get_domain_id()
        return Graph(domain, self._publishers(), self._image_topics(), self._policy)

    def _publishers(self) -> list[Publisher]:
        return [
            Publisher(full_name(info), info.topic_type, info.qos_profile)
            for info in self._node.get_publishers_info_by_topic(self.topic)
        ]

    def _requested(self) -> QoSProfile:
        """What the subscription asks for: a policy that is left to the system is known to the graph only."""
        me = self._node.get_name(), self._node.get_namespace()
        infos = self._node.get_subscriptions_info_by_topic(self.topic)
        mine = [info.qos_profile for info in infos if (info.node_name, info.node_namespace) == me]
        return mine[0] if mine else self._wanted.profile

    def _image_topics(self) -> dict[str, tuple[str, int]]:
        found = {}
        for topic, types in self._node.get_topic_names_and_types():
            if camera_health.is_choice(topic, types) and (count := self._node.count_publishers(topic)):
                found[topic] = camera_health.kind_of(types), count
        found.pop(self.topic, None)
        return found

    def _clocks(self) -> Clocks:
        clock = self._node.get_clock()
        sim = bool(clock.ros_time_is_active)
        return Clocks(sim, time.time_ns(), clock.now().nanoseconds, self._node.count_publishers("/clock"))

    def _paused(self) -> bool:
        """Whether simulated time has not moved since the last image."""
        newest = self._arrivals.last()
        clocks = self._clocks()
        return newest is not None and clocks.sim and clocks.publishers > 0 and clocks.node - newest.clock < 10**9


def full_name(info: Any) -> str:
    """Of an endpoint's node; its name travels apart from the endpoint, and may come later."""
    known = info.node_name != "_NODE_NAME_UNKNOWN_"
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}" if known else "a node without a name yet"

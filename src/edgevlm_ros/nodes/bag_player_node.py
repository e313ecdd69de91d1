# SPDX-License-Identifier: Apache-2.0
"""Plays a rosbag2 into the graph where `ros2 bag play` is absent: its topics, in its own timing, under its own clock.

The bytes of the bag go out as they are, so headers and payloads are what was recorded. They are deserialised once
before that, for a subscriber dies of bytes that its type support cannot read.
"""

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock

from edgevlm_ros.assets import bag_path
from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bags import BagReader, Record, Topic
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.conversions import to_time
from edgevlm_ros.nodes.executor import NodeExecutor
from edgevlm_ros.nodes.parameters import Parameter, Parameters
from edgevlm_ros.nodes.run import run_process
from edgevlm_ros.stop_signal import StopSignal

PARAMETERS = (
    Parameter("bag", "demo", "A rosbag2 folder, an .mcap or .db3 file, or the name of a bundled bag."),
    Parameter("rate", 1.0, "Speed of playing; 2.0 is twice as fast.", 0.01, 100.0),
    Parameter("loop", False, "Begin again at the end, with the same stamps."),
    Parameter("topics", "", "Topics to play, separated by spaces; empty for all."),
    Parameter("clock_rate", 50.0, "Messages per second on /clock; 0 for none.", 0.0, 1000.0),
    Parameter("wait_for_subscribers", 0, "Subscriptions to the bag's images to wait for before playing.", 0, 100),
    Parameter("wait_for_topics", "", "Other topics of the bag that somebody must hear before it plays."),
    Parameter("wait_for_clock", 0, "Subscriptions to /clock to wait for before playing.", 0, 100),
    Parameter("wait_timeout", 120.0, "Seconds after which it plays without them.", 0.0, 3600.0),
    Parameter("start_delay", 0.0, "Seconds before the first message.", 0.0, 3600.0),
)
LATCHED_TYPES = ("edgevlm_msgs/msg/Question", "sensor_msgs/msg/CameraInfo")
NEVER_PLAYED = ("/clock", "/rosout", "/parameter_events")

_LATE_S = 0.05
_LONGEST_SLEEP_S = 0.1  # how soon a shutdown is noticed
_DRAIN_S = 1.0
_LONGEST_GAP_NS = 3600 * 10**9  # of a bag: more is a message without a stamp, or one of a clock that was wrong
_SHORTEST_LOOP_S = 0.1
_LAST_CLOCK_NS = (2**31 - 1) * 10**9  # of builtin_interfaces/Time, in 2038


class BagPlayerNode(Node):
    """Publishes the bag's topics and /clock. Raises BagError or ParameterError if there is nothing to play.

    stopped: whether it was told to stop.
    """

    def __init__(self, stopped: Callable[[], bool] = lambda: False, **kwargs: Any) -> None:
        super().__init__("bag_player_node", **kwargs)
        self._stopped = stopped
        self._settings = Parameters(self, PARAMETERS, lambda: None, lambda: True)
        self._rate = float(self._settings["rate"])
        self._bag = BagReader(bag_path(self._settings["bag"])).__enter__()
        for part in self._bag.left_out:
            self.get_logger().warning(f"not played: {part}")
        self._images = self._bag.image_topic()
        self._outputs = {topic.name: output for topic, output in self._advertise()}
        if not self._outputs:
            raise BagError(f"bag {self._bag.path}: none of the topics to play can be played here")
        self._clock_output = (
            self.create_publisher(Clock, "/clock", qos.EVENTS) if self._settings["clock_rate"] else None
        )
        self._spinner = NodeExecutor(context=self.context)
        self._spinner.add_node(self)
        self._tick = 0.0
        self._published = self._late = self._unreadable = 0

    def _advertise(self) -> Iterator[tuple[Topic, tuple[Publisher, type]]]:
        there = self._bag.topics
        wanted = [f"/{name.lstrip('/')}" for name in self._settings["topics"].split()] or list(there)
        if missing := [name for name in wanted if name not in there]:
            raise BagError(
                f"bag {self._bag.path}: has no {' '.join(missing)}; its topics are {' '.join(sorted(there))}"
            )
        for topic in (there[name] for name in wanted if name not in NEVER_PLAYED):
            message = _message_class(topic.type)
            if message is None:
                self.get_logger().warning(f"{topic.name} is not played: {topic.type} is not installed here")
                continue
            latched = topic.latched or topic.type in LATCHED_TYPES
            yield topic, (self.create_publisher(message, topic.name, qos.LATCHED if latched else qos.EVENTS), message)

    def play(self) -> None:
        """Play to the end, or for ever if it loops; return early when ROS is shut down. Raises BagError in mid-bag."""
        self._wait_for_subscribers()
        self._sleep_until(time.monotonic() + self._settings["start_delay"], self._bag.start, rate=0.0)
        begun = time.monotonic()
        while self._play_once() and self._settings["loop"]:
            pass
        if not self._goes_on():
            return
        for publisher in filter(None, (self._clock_output, *(output for output, _ in self._outputs.values()))):
            publisher.wait_for_all_acked(Duration(seconds=_DRAIN_S))  # else its last words end with the process
        self.get_logger().info(
            f"played {self._published} messages in {time.monotonic() - begun:.1f} s, {self._late} of them more than "
            f"{_LATE_S * 1000:.0f} ms late, {self._unreadable} left out as unreadable"
        )
        for topic, packets in self._bag.dropped.items():
            self.get_logger().warning(f"packets of video on {topic} that show no frame: {packets}")

    def _wait_for_subscribers(self) -> None:
        wanted = {self._images.name: self._settings["wait_for_subscribers"]}
        wanted |= {f"/{name.lstrip('/')}": 1 for name in self._settings["wait_for_topics"].split()}
        outputs = {name: (self._outputs[name][0], least) for name, least in wanted.items() if name in self._outputs}
        if self._clock_output is not None:
            outputs["/clock"] = self._clock_output, self._settings["wait_for_clock"]
        end = time.monotonic() + self._settings["wait_timeout"]
        while self._goes_on():
            there = {name: publisher.get_subscription_count() for name, (publisher, _) in outputs.items()}
            missing = [
                f"{there[name]} of {least} to {name}" for name, (_, least) in outputs.items() if there[name] < least
            ]
            if not missing:
                return
            if time.monotonic() > end:
                self.get_logger().warning(f"playing without all subscriptions: {', '.join(missing)}")
                return
            self.get_logger().info(f"waiting for subscriptions: {', '.join(missing)}", once=True)
            self._sleep_until(time.monotonic() + _LONGEST_SLEEP_S, self._bag.start, rate=0.0)

    def _play_once(self) -> bool:
        """Whether it came to the end, which for a bag that loops is the end of all its topics."""
        before, due, begun = self._bag.start, time.monotonic(), time.monotonic()
        for record in self._bag.records(topics=self._outputs):
            due += self._gap(before, record.stamp) / 1e9 / self._rate
            before = record.stamp
            self._sleep_until(due, record.stamp, self._rate)
            if not self._goes_on():
                return False
            self._late += time.monotonic() - due > _LATE_S
            self._publish(record)
        if self._settings["loop"]:
            due += self._gap(before, self._bag.end) / 1e9 / self._rate
            self._sleep_until(max(due, begun + _SHORTEST_LOOP_S), self._bag.end, self._rate)
        self._publish_clock(self._bag.end)
        return self._goes_on()

    def _gap(self, before: int, stamp: int) -> int:
        """Nanoseconds of the bag from one stamp to the next that are played."""
        gap = stamp - before
        if abs(gap) <= _LONGEST_GAP_NS:
            return gap
        self.get_logger().warning(
            f"{abs(gap) / 3.6e12:.0f} hours without a message are left out", throttle_duration_sec=5.0
        )
        return 0

    def _publish(self, record: Record) -> None:
        publisher, message = self._outputs[record.topic]
        try:
            deserialize_message(record.data, message)
        except Exception as error:  # type support raises what it likes
            self._unreadable += 1
            self.get_logger().warning(f"a message on {record.topic} is left out: it is no {record.type} ({error})")
            return
        publisher.publish(record.data)
        self._published += 1

    def _sleep_until(self, due: float, stamp: int, rate: float) -> None:
        """Wait for a time on the steady clock at which the bag's clock shows `stamp`; meanwhile /clock ticks and
        parameter services are answered."""
        while self._goes_on():
            now = time.monotonic()
            if self._clock_output is not None and now >= self._tick:
                self._tick = max(self._tick + 1 / self._settings["clock_rate"], now)
                self._publish_clock(stamp - round((due - now) * 1e9 * rate))
            if now >= due:
                return
            wake = min(due, self._tick) if self._clock_output is not None else due
            self._spinner.spin_once(timeout_sec=min(max(wake - now, 0.0), _LONGEST_SLEEP_S))

    def _publish_clock(self, stamp: int) -> None:
        if stamp > _LAST_CLOCK_NS:
            self.get_logger().warning(
                "no /clock: the bag's stamps are beyond 2038, which a message cannot tell", once=True
            )
        elif self._clock_output is not None and self._goes_on():
            self._clock_output.publish(Clock(clock=to_time(max(stamp, 0))))

    def _goes_on(self) -> bool:
        return self.context.ok() and not self._stopped()

    def close(self) -> None:
        self._bag.__exit__(None, None, None)
        self._spinner.shutdown()
        self.destroy_node()


def _message_class(name: str) -> Any:
    """The Python class of 'package/msg/Name', or None if the package is not installed or lacks it."""
    package, _, message = name.split("/")
    try:
        found = getattr(importlib.import_module(f"{package}.msg"), message)
        found.__class__.__import_type_support__()
    except Exception:  # type support that is built for another ROS raises its own
        return None
    return found


def _play(stop: StopSignal) -> int:
    stop.raises = True  # a large bag is unpacked for minutes
    stop.check()
    with contextlib.closing(BagPlayerNode(lambda: stop.came)) as player:
        stop.raises = False
        player.play()
    return 0


def main(args: list[str] | None = None) -> None:
    run_process(_play, args)

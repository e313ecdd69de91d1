# SPDX-License-Identifier: Apache-2.0
"""The whole graph as processes of this machine: cloud, edge, bridge, recorder and player, started and stopped in order.

For a demo or a test, in a ROS domain of its own that other machines do not see. On a robot a launch file does this.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from rclpy.signals import SignalHandlerOptions

from edgevlm_ros.assets import share_dir
from edgevlm_ros.bags import Topic
from edgevlm_ros.cloud.server import LvlmServer
from edgevlm_ros.nodes.observer import Observer
from edgevlm_ros.processes import ProcessError, Processes, last_words, module_command

EDGE, BRIDGE, RECORDER, PLAYER = "edge_node", "cloud_bridge_node", "recorder_node", "bag_player_node"
SETTABLE = (EDGE, BRIDGE, RECORDER)

_READY_S = 120.0
_SETTLE_S = 2.5  # for the last answer, and for the last metrics, which come once a second
_MEET_S = 1.0  # for everyone else to find the player too: what is said before is lost
_GIVE_WAY = 5  # niceness of what only watches
_POLL_S = 0.1
_IMAGE_NAMES = {"sensor_msgs/msg/Image": "image", "sensor_msgs/msg/CompressedImage": "image/compressed"}

Parameters = Mapping[str, object]


class GraphError(Exception):
    """The graph does not come up, or does not go on, as it should."""


@dataclass(frozen=True, slots=True)
class Outage:
    """When to kill the embedded cloud and when to start it again: seconds from the bag's start."""

    start: float
    end: float


class Graph:
    """One run of the graph. out: for logs and the recording. settings: parameters by node, over everything else.

    domain: a free one if None. check: called often while something is waited for; what it raises ends the wait.

    A context manager: whatever was started is gone outside.
    """

    def __init__(
        self, out: Path, settings: Mapping[str, Parameters], domain: int | None, check: Callable[[], None]
    ) -> None:
        self.out = out
        self.domain = free_domain() if domain is None else domain
        self._settings = settings
        self._check = check
        self._processes = Processes(out / "logs")
        self._server: LvlmServer | None = None
        self._server_log = out / "logs" / "lvlm_server.log"
        self._nodes: list[str] = []
        os.environ.update(environment(self.domain, out / "logs"))
        rclpy.init(domain_id=self.domain, signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C is the caller's
        self.observer = Observer()

    def start_cloud(self, model: str) -> str:
        """Starts the embedded server, without waiting for it; returns its base URL."""
        self._server = LvlmServer(model, log=self._server_log)
        self._server.start()
        return self._server.base_url

    def start(self, node: str, images: Topic, nice: int = 0, **parameters: object) -> None:
        """Starts a node that listens to the camera `images`."""
        name = _IMAGE_NAMES[images.type]
        if node in (EDGE, BRIDGE):
            parameters["image_transport"] = "raw" if name == "image" else "compressed"
        self._start(node, {**parameters, "use_sim_time": True}, nice, {name: images.name})
        self._nodes.append(node)

    def start_recorder(self) -> None:
        # whoever asked for a run wants its results, however full the disk is
        parameters = {"folder": str(self.out), "overlay": True, "min_free": 0.0, "use_sim_time": True}
        self._start(RECORDER, parameters, _GIVE_WAY, {})
        self._nodes.append(RECORDER)

    def _start(self, node: str, parameters: Parameters, nice: int, remappings: Mapping[str, str]) -> None:
        words: list[str] = []
        file = share_dir() / "config" / "edgevlm.yaml"
        if file.exists():
            words += ["--params-file", str(file)]
        for name, value in {**parameters, **self._settings.get(node, {})}.items():
            words += ["-p", f"{name}:={yaml_scalar(value)}"]
        for name, topic in remappings.items():
            words += ["-r", f"{name}:={topic}"]
        self._processes.start(node, module_command("edgevlm_ros.nodes", node, "--ros-args", *words), nice=nice)

    def wait_ready(self) -> dict[str, dict[str, Any]]:
        """Waits until every node is up and knows the others, and the cloud answers; returns the nodes' parameters.

        Raises ProcessError, ServerError, GraphError.
        """
        for node in (name for name in self._nodes if name != RECORDER):
            self._wait(lambda node=node: self.observer.is_active(node), f"{node} is not active")  # type: ignore[misc]
        listeners = 1 + (RECORDER in self._nodes)
        self._wait(lambda: self.observer.count_subscribers("answer") >= listeners, "the recorder does not listen")
        if self._server is not None:
            self._server.wait_ready(_READY_S)
        return {node: self.observer.parameters(node) for node in self._nodes}

    def _wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + _READY_S
        while not condition():
            self._check()
            self._processes.check()
            if time.monotonic() > end:
                raise GraphError(f"{otherwise} after {_READY_S:.0f} s; logs in {self.out / 'logs'}")
            self.observer.spin(_POLL_S)

    def play(
        self, bag: Path, topics: tuple[str, ...], rate: float, limit: float, outage: Outage | None,
        span: tuple[int, int], tick: Callable[[], None],
    ) -> None:  # fmt: skip
        """Plays a bag to its end. limit: seconds it may take. span: start and end of the bag, nanoseconds. tick: called
        often."""
        listeners = sum(node in self._nodes for node in (EDGE, BRIDGE))
        parameters = {"bag": str(bag), "topics": " ".join(topics), "rate": rate, "wait_for_subscribers": listeners}
        parameters["wait_for_topics"] = "ground_truth" if RECORDER in self._nodes else ""
        # a recorder that has not heard the clock cannot say when an answer came, and keeps none
        parameters["wait_for_clock"] = self.observer.count_subscribers("/clock")
        parameters["start_delay"] = _MEET_S
        self._start(PLAYER, parameters, 0, {})
        end = time.monotonic() + limit
        while not self._processes.ended(PLAYER):
            self._check()
            self._processes.check(PLAYER)
            if time.monotonic() > end:
                raise GraphError(f"the bag is not played after {limit:.0f} s; logs in {self.out / 'logs'}")
            self.observer.spin(_POLL_S)
            self._mind_cloud(outage, (self.observer.stamp - span[0]) / 1e9)
            tick()
        self.observer.let_time_pass(span[1], rate, _SETTLE_S)

    def _mind_cloud(self, outage: Outage | None, second: float) -> None:
        """Makes the outage that was asked for; raises GraphError for one that was not."""
        server = self._server
        if server is None:
            return
        if outage is not None and outage.start <= second < outage.end:
            server.kill()
        elif outage is not None and second >= outage.end:
            server.start()
        elif not server.running:
            raise GraphError(f"the LVLM server has ended: {last_words(self._server_log)} ({self._server_log})")

    def stop(self) -> None:
        """Ends the nodes, the recorder last, so that it hears the others' last words. Raises ProcessError if the
        recording may not be whole."""
        self._processes.stop(PLAYER, EDGE, BRIDGE)
        code = self._processes.stop(RECORDER).get(RECORDER)
        if code:
            raise ProcessError(RECORDER, code, self._processes.log(RECORDER))

    def __enter__(self) -> Graph:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._processes.__exit__(kind, error, trace)
        finally:
            if self._server is not None:
                self._server.stop()
            self.observer.close()
            rclpy.try_shutdown()


def free_domain(domains: Iterable[int] = range(30, 102)) -> int:
    """The first ROS domain in which nobody is on this machine: its ports are free (RTPS 2.2, 9.6.1.1)."""
    for domain in domains:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7400 + 250 * domain + 10))
                return domain
            except OSError:
                continue
    raise GraphError("every ROS domain that could be taken is in use on this machine")


def yaml_scalar(value: object) -> str:
    """A parameter's value for a command line. A string may be anything; one that a user typed is YAML already."""
    if isinstance(value, UserValue):
        return value.text
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return "'{}'".format(str(value).replace("'", "''"))


@dataclass(frozen=True, slots=True)
class UserValue:
    """What a user gave as a parameter's value, to be read as ROS reads it."""

    text: str


def environment(domain: int, logs: Path) -> dict[str, str]:
    """What a process needs to meet the others in a domain of this machine. logs: a folder for ROS's own."""
    variables = {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(logs / "ros"),
        "RCUTILS_COLORIZED_OUTPUT": "0",
    }
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):  # until Jazzy, from Kilted on
        variables[name] = os.environ.get(name) or str(share_dir() / "config" / "fastdds.xml")
    if os.environ.get("ROS_DISTRO") == "humble":  # knows no discovery ranges
        variables["ROS_LOCALHOST_ONLY"] = "1"
    return variables

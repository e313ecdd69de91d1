# SPDX-License-Identifier: Apache-2.0
"""One camera as a node of ours serves it: its images, its standing question, and the report about it.

A node may serve several; each has its topics below its own name, and nothing of one shows in another.
"""

import math
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg

from edgevlm_msgs.msg import Metrics as MetricsMsg
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_ros.nodes import memory, qos
from edgevlm_ros.nodes.camera_health import Health, no_question
from edgevlm_ros.nodes.camera_input import CameraInput
from edgevlm_ros.nodes.parameters import ParameterError
from edgevlm_ros.transfer.types import Question

Measured = tuple[MetricsMsg, Mapping[str, str], Health]
"""The metrics, the values for people, and how it is while images come and a question stands."""

HOST = socket.gethostname()
"""Hardware id of all diagnostics."""

_MAX_QUESTION_CHARS = 2000
_SAID_AGAIN_S = 60.0
_HEARD = 16  # questions that may come twice
_NUMBER = re.compile(r"\d+(\.\d+)?")


class Camera:
    """In `image` (or `image/compressed`) and `question`, out `metrics`, below the camera's name.

    name: empty for the camera of the node's namespace. take: takes one image and the steady time of its arrival, and
    must not wait. stand: takes over another standing question. measured: how what the node does for it is doing.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        take: Callable[[ImageMsg | CompressedImage, float], None],
        stand: Callable[[Question], None],
        measured: Callable[[], Measured],
    ) -> None:
        self.name = name
        self.prefix = f"{name}/" if name else ""
        self.question: Question | None = None
        self.input: CameraInput | None = None
        self.logger = node.get_logger().get_child(name.replace("/", ".")) if name else node.get_logger()
        self._node = node
        self._take = take
        self._stand = stand
        self._measured = measured
        self._publishers: list[Any] = []
        self._entities: list[tuple[Callable[[Any], Any], Any]] = []
        self._said: dict[str, float] = {}
        self._heard: deque[tuple[str, int]] = deque(maxlen=_HEARD)
        self._metrics = self.publisher(MetricsMsg, "metrics")

    def open(self, transport: str) -> None:
        """Begins to listen. transport: raw or compressed."""
        self._said.clear()
        self.input = CameraInput(self._node, self.prefix + "image", transport, self._take)
        for profile in (qos.LATCHED, qos.EVENTS):  # who publishes as `ros2 topic pub` does is not latched
            self.subscribe(QuestionMsg, "question", qos.with_info(self._on_question), profile)

    def close(self) -> None:
        """Listens no more. May be called again."""
        while self._entities:
            destroy, entity = self._entities.pop()
            destroy(entity)
        if self.input is not None:
            self.input.close()
            self.input = None

    def release(self) -> None:
        """Publishes no more. May be called again."""
        while self._publishers:
            self._node.destroy_publisher(self._publishers.pop())

    # -- what goes out and comes in ----------------------------------------------------------------------------------

    @property
    def topic(self) -> str:
        """Of its images, resolved."""
        return self.input.topic if self.input else self._node.resolve_topic_name(self.prefix + "image")

    def publisher(self, kind: Any, topic: str, profile: Any = qos.EVENTS) -> Any:
        """A publisher below the camera's name that lives until it is released."""
        publisher = self._node.create_publisher(kind, self.prefix + topic, profile)
        self._publishers.append(publisher)
        return publisher

    def publish(self, publisher: Any, message: Any) -> None:
        """Publishes while ROS is up: the last message of a thread may come when it is not."""
        if self._node.context.ok():
            publisher.publish(message)

    def subscribe(self, kind: Any, topic: str, callback: Callable[[Any], None], profile: Any = qos.EVENTS) -> None:
        """A subscription below the camera's name that lives until it is closed."""
        subscription = self._node.create_subscription(kind, self.prefix + topic, callback, profile)
        self._entities.append((self._node.destroy_subscription, subscription))

    def serve(self, kind: Any, service: str, callback: Callable[[Any, Any], Any]) -> None:
        """A service below the camera's name that lives until it is closed."""
        server = self._node.create_service(kind, self.prefix + service, callback, qos_profile=qos.REQUESTS)
        self._entities.append((self._node.destroy_service, server))

    def stand(self, question: Question) -> None:
        """Makes a question the standing one."""
        self.question = question
        self._stand(question)

    def hear_question(self, message: QuestionMsg) -> None:
        """Makes the question of a message the standing one. Raises ParameterError if it cannot be."""
        self.stand(checked_question(message.text))

    def _on_question(self, message: QuestionMsg, info: Mapping[str, int]) -> None:
        heard = message.text, info["source_timestamp"]
        if heard in self._heard:  # by the other subscription
            return
        self._heard.append(heard)
        self._try_question("question", lambda: self.hear_question(message))

    def _try_question(self, topic: str, take: Callable[[], object]) -> None:
        try:
            take()
        except ParameterError as error:
            self.logger.warning(f"a message on '{self.prefix}{topic}' is not taken: {error}")

    # -- what people see ---------------------------------------------------------------------------------------------

    def report(self, status_name: str) -> DiagnosticStatus:
        """Publishes the metrics; the same for people. What is wrong is logged when it is new, and once a minute."""
        now = time.monotonic()
        metrics, values, health = self._measured()
        metrics.header.stamp = self._node.get_clock().now().to_msg()
        metrics.node, metrics.camera = self._node.get_name(), self.name
        metrics.frame_rate = self.input.rate if self.input else 0.0
        metrics.stamp_age = self.input.stamp_age if self.input else math.nan
        metrics.memory, metrics.gpu_memory = memory.resident(), memory.gpu()
        self.publish(self._metrics, metrics)
        level, text = max(filter(None, (self._ill(now), health)), key=lambda each: each[0])  # the worse of both
        if level != DiagnosticStatus.OK:
            self._say(text, now)
        name = f"{status_name}: {self.name}" if self.name else status_name
        status = DiagnosticStatus(level=level, name=name, message=text, hardware_id=HOST)
        told = {
            "question": self.question.text if self.question else "",
            **(self.input.values(now) if self.input else {}),
            **values,
            "memory [MB]": f"{metrics.memory / 1e6:.0f}",
            "GPU memory [MB]": f"{metrics.gpu_memory / 1e6:.0f}",
            "errors of callbacks": str(getattr(self._node.executor, "errors", 0)),
        }
        status.values = [KeyValue(key=key, value=value) for key, value in told.items()]
        return status

    def _ill(self, now: float) -> Health | None:
        """What keeps any node from its work for this camera."""
        ill = self.input.ill(now) if self.input else None
        if ill is None and self.question is None:
            first = self.input.first if self.input else None
            publishers = self._node.count_publishers(self._node.resolve_topic_name(f"{self.prefix}question"))
            return no_question(self.prefix, None if first is None else now - first, publishers)
        return ill

    def _say(self, text: str, now: float) -> None:
        kind = _NUMBER.sub("", text)  # the same trouble, however its numbers grow
        if now - self._said.get(kind, -math.inf) >= _SAID_AGAIN_S:
            self._said[kind] = now
            self.logger.warning(text)


def status_name(node: Node) -> str:
    """Of a node's diagnostics, such as edge_node, or robot1/edge_node in a namespace."""
    return node.get_fully_qualified_name().lstrip("/")


def checked_question(text: str) -> Question:
    """Raises ParameterError for a text that is no question."""
    text = text.strip()
    if not 0 < len(text) <= _MAX_QUESTION_CHARS:
        raise ParameterError(f"a question has 1 to {_MAX_QUESTION_CHARS} characters, not {len(text)}")
    return Question(text)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

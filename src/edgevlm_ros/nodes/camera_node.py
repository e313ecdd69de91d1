# SPDX-License-Identifier: Apache-2.0
"""What the edge node and the cloud bridge have in common: one camera, one standing question, a lifecycle, a report.

Such a node configures (loads, connects), activates (listens), deactivates (is quiet, keeps what it loaded) and cleans
up. Nothing that comes in on a topic can end it.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg

from edgevlm_msgs.msg import Metrics as MetricsMsg
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.parameters import Parameter, ParameterError, Parameters
from edgevlm_ros.transfer.types import Question

CAMERA_PARAMETERS = (
    Parameter("autostart", True, "Configure and activate at start, without a lifecycle manager."),
    Parameter("image_transport", "raw", "Which of the camera's topics to take.", choices=("raw", "compressed")),
)

Health = tuple[bytes, str]
"""Level of a DiagnosticStatus, and what it says."""

_MAX_QUESTION_CHARS = 2000
_NO_IMAGE_AFTER_S = 5.0


class CameraNode(LifecycleNode):
    """In `image` (or `image/compressed`) and `question`; out `metrics` and `/diagnostics`.

    A subclass fills in the methods that raise here, and lists in `_entities` what it creates for its active time, with
    what destroys it. table: its parameters, CAMERA_PARAMETERS among them.
    """

    def __init__(self, name: str, table: Sequence[Parameter], **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._configured = False
        self._question: Question | None = None
        self._image_topic = ""
        self._activated = 0.0
        self._last_image: float | None = None
        self._entities: list[tuple[Any, Any]] = []
        self._publishers_made: list[Any] = []
        self._settings = Parameters(self, table, self._on_parameters, lambda: self._configured)

    # -- what a subclass does ----------------------------------------------------------------------------------------

    def _configure(self) -> None:
        """Loads and connects; what it raises is told to people and the node stays unconfigured."""

    def _activate(self) -> None:
        """Begins, before the first image."""

    def _quiet(self) -> None:
        """Stops what _activate began. May be called again."""

    def _release(self) -> None:
        """Frees what _configure made. May be called again."""

    def _on_parameters(self) -> None:
        """Takes over live parameters; raises ValueError to refuse them."""

    def _on_camera(self, message: ImageMsg | CompressedImage, now: float) -> None:
        """Takes one image; now: seconds on the steady clock. Must not wait for anything."""

    def _stand(self, question: Question) -> None:
        """Takes over another standing question."""

    def _measured(self) -> tuple[MetricsMsg, Mapping[str, str], Health]:
        """The metrics, the values for people, and how it is while images come and a question stands."""
        raise AssertionError("a camera node measures itself")

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    @property
    def autostart(self) -> bool:
        return bool(self._settings["autostart"])

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._configure()
        except Exception as error:
            self.get_logger().fatal(str(error) or repr(error))
            self._release()
            return TransitionCallbackReturn.FAILURE
        self._metrics = self._publisher(MetricsMsg, "metrics")
        self._diagnostics = self._publisher(DiagnosticArray, "/diagnostics")
        self._configured = True
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._activated, self._last_image = time.monotonic(), None
        image_type: Any = ImageMsg
        self._image_topic = self.resolve_topic_name("image")
        if self._settings["image_transport"] == "compressed":
            image_type, self._image_topic = CompressedImage, self._image_topic + "/compressed"
        self._activate()
        questions = self.create_subscription(QuestionMsg, "question", self._on_question, qos.LATCHED)
        images = self.create_subscription(image_type, self._image_topic, self._on_image, qos.NEWEST_IMAGE)
        self._entities += [
            (self.destroy_subscription, questions),
            (self.destroy_subscription, images),
            # on the steady clock: a paused simulation must not silence the diagnostics
            (self.destroy_timer, self.create_timer(1.0, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))),
        ]
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._end_activity()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """From any state back to nothing: quiet, and all that was loaded is free."""
        self._end_activity()
        self._release()
        for publisher in self._publishers_made:
            self.destroy_publisher(publisher)
        self._publishers_made.clear()
        self._configured = False

    def _end_activity(self) -> None:
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities.clear()
        self._quiet()

    def _publisher(self, kind: Any, topic: str, profile: Any = qos.EVENTS) -> Any:
        """A publisher that lives until the node is cleaned up."""
        publisher = self.create_publisher(kind, topic, profile)
        self._publishers_made.append(publisher)
        return publisher

    def _publish(self, publisher: Any, message: Any) -> None:
        """Publishes while ROS is up: the last message of a thread may come when it is not."""
        if self.context.ok():
            publisher.publish(message)

    # -- what comes in -----------------------------------------------------------------------------------------------

    def _on_image(self, message: ImageMsg | CompressedImage) -> None:
        self._last_image = time.monotonic()
        self._on_camera(message, self._last_image)

    def _on_question(self, message: QuestionMsg) -> None:
        try:
            self._take(checked_question(message.text))
        except ParameterError as error:
            self.get_logger().warning(f"a message on 'question' is not taken: {error}")

    def _take(self, question: Question) -> None:
        self._question = question
        self._stand(question)

    # -- what people see ---------------------------------------------------------------------------------------------

    def _report(self) -> None:
        metrics, values, health = self._measured()
        metrics.node = self.get_name()
        metrics.header.stamp = self.get_clock().now().to_msg()
        self._publish(self._metrics, metrics)
        level, text = self._ill() or health
        if level != DiagnosticStatus.OK:
            self.get_logger().warning(text, throttle_duration_sec=10.0)
        status = DiagnosticStatus(level=level, name=self.get_name(), message=text, hardware_id="edgevlm")
        asked = {"question": self._question.text if self._question else ""}
        status.values = [KeyValue(key=key, value=value) for key, value in {**asked, **values}.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = metrics.header.stamp
        self._publish(self._diagnostics, array)

    def _ill(self) -> Health | None:
        """What keeps any camera node from its work."""
        since = time.monotonic() - (self._last_image or self._activated)
        if since > _NO_IMAGE_AFTER_S:
            publishers = self.count_publishers(self._image_topic)
            return DiagnosticStatus.WARN, (
                f"no image on {self._image_topic} for {since:.0f} s ({publishers} publishers): "
                "remap 'image' to your camera's topic, or set image_transport"
            )
        if self._question is None:
            return DiagnosticStatus.WARN, (
                "no question yet: set the edge node's parameter 'question', call 'set_question', "
                "or publish on 'question'"
            )
        return None


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

# SPDX-License-Identifier: Apache-2.0
"""A robot around one edge node in this process: cameras, clouds and listeners, by the name of the camera."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from edgevlm_msgs.msg import Answer, CloudContext, Metrics, Question, Region
from edgevlm_msgs.srv import SetQuestion
from edgevlm_ros.images import to_image
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.edge_node import EdgeNode
from edgevlm_ros.transfer.types import Question as Asked

QUESTION = "where is the person?"
PICTURE = np.random.default_rng(5).integers(0, 255, (120, 160, 3), dtype=np.uint8)

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP


def header_at(second: float) -> Header:
    header = Header(frame_id="camera")
    header.stamp.sec, header.stamp.nanosec = int(second), int(second % 1 * 1e9)
    return header


class Side:
    """One camera, and who listens to what is said of it. name: empty for the camera of the namespace."""

    def __init__(self, ros: Any, node: Any, name: str = "") -> None:
        prefix = f"{name}/" if name else ""
        self._ros = ros
        self.answers: list[Answer] = []
        self.metrics: list[Metrics] = []
        self.questions: list[Question] = []
        node.create_subscription(Answer, prefix + "answer", self.answers.append, qos.EVENTS)
        node.create_subscription(Metrics, prefix + "metrics", self.metrics.append, qos.EVENTS)
        node.create_subscription(Question, prefix + "question", self.questions.append, qos.LATCHED)
        self.camera = node.create_publisher(Image, prefix + "image", qos.EVENTS)
        self.cloud = node.create_publisher(CloudContext, prefix + "context", qos.EVENTS)
        self._question_client = node.create_client(SetQuestion, prefix + "set_question")

    @property
    def connected(self) -> bool:
        return bool(self.camera.get_subscription_count() == 1 and self.cloud.get_subscription_count() == 1)

    def film(self, second: float, picture: Any = PICTURE) -> None:
        self.camera.publish(to_image(header_at(second), picture, "rgb8"))

    def see(self, second: float) -> Answer:
        """The answer for one frame."""
        stamp = header_at(second).stamp
        for _ in range(10):  # images are best effort: the first of them may find the subscription half matched
            self.film(second)
            if self._ros.spin_until(lambda: self.answers and self.answers[-1].header.stamp == stamp, timeout=5.0):
                return self.answers[-1]
        raise AssertionError(f"no answer to the frame of second {second}")

    def tell(self, second: float, text: str, delay: float = 0.0, question: str = QUESTION) -> None:
        """A context of the cloud about the frame of that second."""
        region = Region(label="person", score=1.0, box=RegionOfInterest(x_offset=40, y_offset=30, width=60, height=50))
        self.cloud.publish(
            CloudContext(
                header=header_at(second),
                keyframe_id=1,
                question_id=Asked(question).id,
                status=CloudContext.STATUS_OK,
                text=text,
                regions=[region],
                image_width=160,
                image_height=120,
                delay=delay,
            )
        )

    def ask(self, text: str) -> SetQuestion.Response:
        """Makes a question the standing one of this camera."""
        assert self._ros.spin_until(self._question_client.service_is_ready)
        future = self._question_client.call_async(SetQuestion.Request(text=text))
        assert self._ros.spin_until(future.done)
        return future.result()


class EdgeRobot:
    """One edge node with a tiny model and the cameras that it names; started unless start is false."""

    def __init__(self, ros: Any, model: Path | str, *, start: bool = True, **parameters: object) -> None:
        self.ros = ros
        self.node = ros.node()
        settings = {"model": str(model), "question": QUESTION, "threads": 1, "max_new_tokens": 4, **parameters}
        overrides = [Parameter(name, value=value) for name, value in settings.items()]
        self.edge = ros.add(EdgeNode(context=ros.context, parameter_overrides=overrides))
        names = parameters.get("cameras") or [""]
        assert isinstance(names, list)
        self.sides = {name: Side(ros, self.node, name) for name in names}
        self.diagnostics: list[DiagnosticStatus] = []
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnosed, qos.EVENTS)
        if start:
            assert self.change(CONFIGURE)
            assert self.change(ACTIVATE)
            self.meet()

    def meet(self) -> None:
        """Waits until the node and the cameras have found each other."""
        self.until(lambda: all(side.connected for side in self.sides.values()))

    @property
    def side(self) -> Side:
        """The only camera."""
        (side,) = self.sides.values()
        return side

    def until(self, condition: Callable[[], object]) -> None:
        assert self.ros.spin_until(condition)

    def spin(self, seconds: float) -> None:
        """Whatever comes within that time has come."""
        self.ros.spin_until(lambda: False, timeout=seconds)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(kind, name)
        assert self.ros.spin_until(client.service_is_ready)
        future = client.call_async(request)
        assert self.ros.spin_until(future.done)
        self.node.destroy_client(client)
        return future.result()

    def change(self, transition: int) -> bool:
        """Whether a transition of the lifecycle succeeds, asked for as a lifecycle manager does."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, "/edge_node/change_state", request).success)

    @property
    def state(self) -> str:
        return str(self.call(GetState, "/edge_node/get_state", GetState.Request()).current_state.label)

    def set(self, name: str, value: object) -> Any:
        return self.edge.set_parameters([Parameter(name, value=value)])[0]

    def status(self, name: str = "edge_node") -> DiagnosticStatus | None:
        """The newest diagnostic status of that name."""
        return next((status for status in reversed(self.diagnostics) if status.name == name), None)

    def _diagnosed(self, message: DiagnosticArray) -> None:
        self.diagnostics.extend(message.status)

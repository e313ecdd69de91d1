# SPDX-License-Identifier: Apache-2.0
"""What someone who runs the graph wants to know of it: is it up, how is it set, how is it doing."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Any

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rosgraph_msgs.msg import Clock

from edgevlm_msgs.msg import Answer, CloudContext, Metrics
from edgevlm_ros.evaluation.recording import nanoseconds
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.conversions import to_time
from edgevlm_ros.transfer.types import Status

_RATE_WINDOW_S = 5.0
_TICK_S = 0.05
_CALL_S, _CALLS = 3.0, 6  # an answer is lost now and then while nodes are still finding each other


class Observer(Node):
    """In: `answer`, `context`, `metrics`; out, after a bag, `/clock`. Call spin() often: the rest is what was heard by
    then."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("demo", start_parameter_services=False, enable_rosout=False, **kwargs)
        self.answer: Answer | None = None
        self.answers = 0
        self.replies: Counter[str] = Counter()
        self._stamp = 0
        self._heard: deque[float] = deque()
        self._states: dict[str, _Asked] = {}
        self._executor: Executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self)
        self.create_subscription(Answer, "answer", self._on_answer, qos.EVENTS)
        self.create_subscription(CloudContext, "context", self._on_context, qos.EVENTS)
        self.create_subscription(Metrics, "metrics", self._on_metrics, qos.EVENTS)

    @property
    def stamp(self) -> int:
        """The newest time that was heard of in the stream's clock, nanoseconds; 0 before the first."""
        return self._stamp

    @property
    def rate(self) -> float:
        """Answers per second on the steady clock, over the last seconds."""
        now = time.monotonic()
        while self._heard and self._heard[0] < now - _RATE_WINDOW_S:
            self._heard.popleft()
        span = now - self._heard[0] if self._heard else 0.0
        return len(self._heard) / span if span > 1.0 else 0.0

    def spin(self, seconds: float) -> None:
        """Listen for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def let_time_pass(self, stamp: int, rate: float, seconds: float) -> None:
        """Listen for so long after a bag has ended, at `stamp` nanoseconds, and let its clock run on meanwhile: else
        what is due by it, such as the last metrics, is never said."""
        began = time.monotonic()
        clock = self.create_publisher(Clock, "/clock", qos.EVENTS)
        while (passed := time.monotonic() - began) < seconds:
            self.spin(_TICK_S)
            clock.publish(Clock(clock=to_time(stamp + round(passed * rate * 1e9))))
        self.destroy_publisher(clock)

    def is_active(self, node: str) -> bool:
        """Whether a lifecycle node is up and active. Asks it, without waiting: call again until it is."""
        if node not in self._states:
            self._states[node] = _Asked(self.create_client(GetState, f"/{node}/get_state"))
        return self._states[node].is_active()

    def parameters(self, node: str) -> dict[str, Any]:
        """The parameters of a node as it has them; empty if it does not answer."""
        names = self._call(ListParameters, f"/{node}/list_parameters", ListParameters.Request())
        if names is None:
            return {}
        own = [name for name in names.result.names if not name.startswith("qos_overrides")]
        values = self._call(GetParameters, f"/{node}/get_parameters", GetParameters.Request(names=own))
        return {} if values is None else dict(zip(own, map(parameter_value_to_python, values.values), strict=True))

    def _call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.create_client(kind, name)
        try:
            for _ in range(_CALLS):
                if client.wait_for_service(timeout_sec=_CALL_S):
                    answered = client.call_async(request)
                    self._executor.spin_until_future_complete(answered, timeout_sec=_CALL_S)
                    if answered.done():
                        return answered.result()
            return None
        finally:
            self.destroy_client(client)

    def _on_answer(self, message: Answer) -> None:
        self.answer, self.answers = message, self.answers + 1
        self._heard.append(time.monotonic())
        self._stamp = max(self._stamp, nanoseconds(message.header.stamp))

    def _on_context(self, message: CloudContext) -> None:
        self.replies["ok" if message.status == Status.OK else "failed"] += 1

    def _on_metrics(self, message: Metrics) -> None:
        self._stamp = max(self._stamp, nanoseconds(message.header.stamp))

    def close(self) -> None:
        self._executor.shutdown()
        self.destroy_node()


class _Asked:
    """A lifecycle node that is asked for its state again and again, one call at a time."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._call: Any = None
        self._called = 0.0

    def is_active(self) -> bool:
        answer = self._call.result() if self._call is not None and self._call.done() else None
        if answer is not None and answer.current_state.id == State.PRIMARY_STATE_ACTIVE:
            return True
        waiting = self._call is not None and not self._call.done() and time.monotonic() < self._called + _CALL_S
        if not waiting and self._client.service_is_ready():
            self._call, self._called = self._client.call_async(GetState.Request()), time.monotonic()
        return False

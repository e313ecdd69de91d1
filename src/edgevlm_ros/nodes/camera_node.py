# SPDX-License-Identifier: Apache-2.0
"""What the edge node and the cloud bridge have in common: cameras, a lifecycle that can be recovered from, a report.

Such a node configures (loads, connects), activates (listens), deactivates (is quiet, keeps what it loaded) and cleans
up. Configuring may take minutes: it has a thread of its own, so that services, parameters and diagnostics are served
meanwhile. Nothing that comes in on a topic can end it, and a transition that fails leaves it where it was.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg

from edgevlm_msgs.msg import Metrics as MetricsMsg
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.camera import HOST, Camera, status_name
from edgevlm_ros.nodes.camera_health import Health
from edgevlm_ros.nodes.parameters import Parameter, Parameters
from edgevlm_ros.nodes.start_error import passes
from edgevlm_ros.transfer.types import Question

CAMERA_PARAMETERS = (
    Parameter("autostart", True, "Configure and activate at start, without a lifecycle manager."),
    Parameter("image_transport", "raw", "Which of the camera's topics to take.", choices=("raw", "compressed")),
)
# rclpy's own have a queue of 10, which it does not let change
_LIFECYCLE_SERVICES = {
    "change_state": ChangeState,
    "get_state": GetState,
    "get_available_states": GetAvailableStates,
    "get_available_transitions": GetAvailableTransitions,
    "get_transition_graph": GetAvailableTransitions,
}


class CameraNode(LifecycleNode):
    """Out `/diagnostics`, one status for each camera; see Camera for the rest.

    A subclass fills in the methods that are empty here, and lists in `_entities` what it creates for its active time,
    with what destroys it. table: its parameters, CAMERA_PARAMETERS among them.
    """

    def __init__(self, name: str, table: Sequence[Parameter], **kwargs: Any) -> None:
        super().__init__(name, enable_communication_interface=False, **kwargs)
        self._configured = False
        self.may_start_later = False  # whether what its start failed of may pass by itself
        self._cameras: Sequence[Camera] = ()
        self._entities: list[tuple[Any, Any]] = []
        self._publishers_made: list[Any] = []
        self._configuring: float | None = None  # since when, on the steady clock
        self._settings = Parameters(self, table, self._on_parameters, lambda: self._configured or self.configuring)
        self._deferred = False  # the response of the service that is called now
        for service, kind in _LIFECYCLE_SERVICES.items():
            callback = getattr(self, f"_LifecycleNodeMixin__on_{service}")  # rclpy has no other name for it
            change = service == "change_state"
            if change:
                callback = partial(self._on_change_state, callback)
            server: Any = self.create_service(kind, f"~/{service}", callback, qos_profile=qos.REQUESTS)
            if change:
                server.send_response = partial(self._respond, server.send_response)

    # -- what a subclass does ----------------------------------------------------------------------------------------

    def _configure(self) -> None:
        """Loads and connects; what it raises is told to people and the node stays unconfigured."""

    def _see(self) -> Sequence[Camera]:
        """The cameras, once configured: here the one of the node's namespace."""
        return [Camera(self, "", self._on_camera, self._stand, self._measured)]

    def _activate(self) -> None:
        """Begins, before the first image; what it raises is told to people and the node stays inactive."""

    def _quiet(self) -> None:
        """Stops what _activate began. May be called again."""

    def _release(self) -> None:
        """Frees what _configure made. May be called again."""

    def _on_parameters(self) -> None:
        """Takes over live parameters; raises ValueError to refuse them."""

    def _on_camera(self, message: ImageMsg | CompressedImage, now: float) -> None:
        """Takes one image of the only camera; now: seconds on the steady clock. Must not wait for anything."""

    def _stand(self, question: Question) -> None:
        """Takes over another standing question of the only camera."""

    def _measured(self) -> tuple[MetricsMsg, Mapping[str, str], Health]:
        """The metrics, the values for people, and how it is while images of the only camera come."""
        raise AssertionError("a camera node measures itself")

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def _on_change_state(
        self, change: Callable[..., ChangeState.Response], request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        """rclpy lets a transition that is not possible now end the node; here it is refused."""
        asked = request.transition
        try:
            if self.configuring:
                raise RuntimeError("the node is being configured")
            unconfigured = self._state_machine.current_state[0] == State.PRIMARY_STATE_UNCONFIGURED
            if unconfigured and (asked.label or asked.id) in ("configure", Transition.TRANSITION_CONFIGURE):
                self._deferred = True
            else:
                change(request, response)
        except RuntimeError as error:
            self.get_logger().warning(f"a transition is refused: {error}")
            response.success = False
        return response

    def _respond(
        self, send: Callable[[ChangeState.Response, Any], None], response: ChangeState.Response, to: Any
    ) -> None:
        """Sends a response, or has it sent once the node is configured: rclpy has no such services."""
        deferred, self._deferred = self._deferred, False
        if not deferred:
            send(response, to)
            return

        def tell(configured: Future[bool]) -> None:
            response.success = configured.result()
            with suppress(Exception):  # the node is gone, or who asked
                send(response, to)

        self.configure().add_done_callback(tell)

    @property
    def configuring(self) -> bool:
        """Whether it is being configured now, on a thread that cannot be interrupted."""
        return self._configuring is not None

    def configure(self) -> Future[bool]:
        """Configures the node on another thread; whether that succeeded. While it lasts no transition is possible."""
        self._configuring = time.monotonic()
        done: Future[bool] = Future()
        diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENTS)
        timer = self.create_timer(1.0, partial(self._report_configuring, diagnostics), clock=_steady())

        def work() -> None:
            success = False
            try:
                success = self.trigger_configure() == TransitionCallbackReturn.SUCCESS
            except Exception as error:
                self.get_logger().fatal(f"cannot be configured: {error!r}")
            self.destroy_timer(timer)
            self.destroy_publisher(diagnostics)
            self._configuring = None
            done.set_result(success)

        threading.Thread(target=work, name="configure", daemon=True).start()
        return done

    def _report_configuring(self, publisher: Any) -> None:
        since = self._configuring
        if since is not None:
            text = f"being configured for {time.monotonic() - since:.0f} s"
            status = DiagnosticStatus(level=DiagnosticStatus.OK, name=status_name(self), message=text, hardware_id=HOST)
            array = DiagnosticArray(status=[status])
            array.header.stamp = self.get_clock().now().to_msg()
            self._publish(publisher, array)

    @property
    def autostart(self) -> bool:
        return bool(self._settings["autostart"])

    @property
    def first_state(self) -> str:
        """Label of the lifecycle state that the node is brought to at its start."""
        return "active" if self.autostart else "unconfigured"

    @property
    def resumed(self) -> bool:
        """Whether it goes on where another process was: it must live then, whatever fails."""
        return False

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._configure()
            self._cameras = self._see()
            self._diagnostics = self._publisher(DiagnosticArray, "/diagnostics")
        except Exception as error:
            self.get_logger().fatal(str(error) or repr(error))
            self.may_start_later = passes(error)
            self.close()
            return TransitionCallbackReturn.FAILURE
        self._configured = True
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            for camera in self._cameras:
                camera.open(self._settings["image_transport"])
            self._activate()
        except Exception as error:
            self.get_logger().fatal(f"cannot be activated: {str(error) or repr(error)}")
            self.may_start_later = passes(error)
            self._end_activity()
            return TransitionCallbackReturn.FAILURE
        timer = self.create_timer(1.0, self._report, clock=_steady())
        self._entities.append((self.destroy_timer, timer))
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

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, from where everything can be tried again."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """From any state back to nothing: quiet, and all that was loaded is free."""
        self._end_activity()
        self._forget_cameras()
        self._release()
        for publisher in self._publishers_made:
            self.destroy_publisher(publisher)
        self._publishers_made.clear()
        self._configured = False

    def _forget_cameras(self) -> None:
        """A method of its own, so that no variable here holds a camera, and with it the model, in _release."""
        for camera in self._cameras:
            camera.release()
        self._cameras = ()

    def _end_activity(self) -> None:
        self._quiet()
        while self._entities:
            destroy, entity = self._entities.pop()
            destroy(entity)
        for camera in self._cameras:
            camera.close()

    # -- for a subclass ----------------------------------------------------------------------------------------------

    @property
    def _question(self) -> Question | None:
        """The standing question of the only camera."""
        return self._cameras[0].question if self._cameras else None

    @property
    def _image_topic(self) -> str:
        """Of the only camera, resolved."""
        return self._cameras[0].topic if self._cameras else self.resolve_topic_name("image")

    def _publisher(self, kind: Any, topic: str) -> Any:
        """A publisher that lives until the node is cleaned up."""
        publisher = self.create_publisher(kind, topic, qos.EVENTS)
        self._publishers_made.append(publisher)
        return publisher

    def _publish(self, publisher: Any, message: Any) -> None:
        """Publishes while ROS is up: the last message of a thread may come when it is not."""
        if self.context.ok():
            publisher.publish(message)

    def _report(self) -> None:
        array = DiagnosticArray(status=[camera.report(status_name(self)) for camera in self._cameras])
        array.header.stamp = self.get_clock().now().to_msg()
        self._publish(self._diagnostics, array)


def _steady() -> Clock:
    """A paused simulation must not silence the diagnostics."""
    return Clock(clock_type=ClockType.STEADY_TIME)

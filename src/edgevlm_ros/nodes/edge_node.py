# SPDX-License-Identifier: Apache-2.0
"""The edge node: one small model that answers the frames of one or several cameras, each about its standing question.

The cameras share the weights and one inference thread, which gives each of them its turn: frames are dropped and
counted, never queued.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.parameter import Parameter as RosParameter
from rclpy.serialization import deserialize_message, serialize_message

from edgevlm_msgs.msg import CloudContext as CloudContextMsg
from edgevlm_ros.assets import bundled
from edgevlm_ros.edge.engine import Engine, EngineError
from edgevlm_ros.edge.loading import give_back_memory
from edgevlm_ros.nodes import edge_parameters
from edgevlm_ros.nodes.activity import Activity
from edgevlm_ros.nodes.camera import Camera, checked_question
from edgevlm_ros.nodes.camera_node import CameraNode
from edgevlm_ros.nodes.edge_camera import EdgeCamera
from edgevlm_ros.nodes.parameters import ParameterError
from edgevlm_ros.nodes.resumption import Carried, carried_over, recent, replace_process, too_many
from edgevlm_ros.nodes.run import run
from edgevlm_ros.nodes.warm_model import warm_model
from edgevlm_ros.nodes.watchdog import Pulse, Watchdog
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.transfer.types import Question

# Deactivating waits so long for the inference thread; what it is in the middle of is not published anyway.
_QUIET_S = 0.1
_FREE_S = 60.0
# Of the clock, so much back is a bag that loops or a simulation that is reset.
_SET_BACK_S = 0.1
_ACKED_S = 0.5


class EdgeNode(CameraNode):
    """See EdgeCamera for what comes in and goes out.

    carried: of the process that this one was before, to go on where it was. replace_with: replaces this process; None
    where it is not the node's to replace, and a model that hangs can only be told.
    """

    _cameras: Sequence[EdgeCamera]

    def __init__(
        self, carried: Carried | None = None, replace_with: Callable[[Carried], None] | None = None, **kwargs: Any
    ) -> None:
        self._carried = carried
        self._replace_with = replace_with
        self._hangs = tuple(carried.hangs) if carried else ()
        self._resumes_as = carried.state if carried else ""
        if carried:
            given = [RosParameter(name, value=value) for name, value in carried.parameters.items()]
            kwargs = {**kwargs, "parameter_overrides": given}
        self._engine: Engine | None = None
        self._activity = Activity()
        self._inference: threading.Thread | None = None
        super().__init__("edge_node", edge_parameters.PARAMETERS, **kwargs)
        self._asked = str(self._settings["question"])
        if carried:
            tell = self.get_logger().fatal if too_many(carried.hangs) else self.get_logger().warning
            tell(f"a new process in place of one that hung, to be {carried.state}: {carried.why}")

    @property
    def first_state(self) -> str:
        return self._resumes_as or super().first_state

    @property
    def resumed(self) -> bool:
        return bool(self._resumes_as)

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def _configure(self) -> None:
        value = self._settings
        edge_parameters.camera_names(value)  # what is wrong with them need not wait for the model
        edge_parameters.focus(value)
        edge_parameters.choices(value)
        if value["question"]:
            checked_question(value["question"])
        self._engine = warm_model(value, self._watched, self.get_logger().info)
        if not value["server_url"] and value["model"] in bundled("models"):
            # a bag or a simulation has a clock of its own: without one the images are a camera's
            tell = self.get_logger().info if self.get_clock().ros_time_is_active else self.get_logger().warning
            tell(
                f"{self._engine.name} is for demonstration: it knows only the rendered world of the bundled bag, its "
                "answers about other images mean nothing. `edgevlm models` lists models for a camera"
            )
        can = self._engine.capabilities
        self.get_logger().info(
            f"{self._engine.name} can be focused by {', '.join(sorted(can.focus_modes))}; "
            f"prompt reuse {'on' if can.reuse else 'off'}"
        )

    def _see(self) -> list[Camera]:
        value = self._settings
        assert self._engine is not None
        cameras: list[Camera] = []
        for name in edge_parameters.camera_names(value):
            rules = edge_parameters.replacement(value), edge_parameters.focus(value)
            pipeline = Pipeline(self._engine, Question(""), *rules, background=True, camera=name)
            pipeline.choices = edge_parameters.choices(value)
            asking = value["ask.queue"], value["ask.deadline"]
            cameras.append(EdgeCamera(self, name, pipeline, *asking, hangs=len(self._hangs)))
        return cameras

    def _activate(self) -> None:
        self._activity = Activity()
        carried, self._carried = self._carried, None
        for camera in self._cameras:
            camera.begin(self._activity)
            if carried and camera.name in carried.questions:
                context = carried.contexts.get(camera.name)
                told = None if context is None else deserialize_message(context, CloudContextMsg)
                camera.resume(carried.questions[camera.name], told)
            if camera.question is None and self._settings["question"]:
                camera.ask(self._settings["question"])
        back = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-int(_SET_BACK_S * 1e9)), on_clock_change=False
        )
        jumps = self.get_clock().create_jump_callback(back, post_callback=lambda jump: self._set_back())
        self._entities.append((lambda handle: handle.unregister(), jumps))
        self._inference = threading.Thread(
            target=_infer,
            args=(self._cameras, self._activity, self._inference, self._watched),
            name="inference",
            daemon=True,
        )
        self._inference.start()
        self.get_logger().info(f"answering the frames of {', '.join(camera.topic for camera in self._cameras)}")

    def _quiet(self) -> None:
        """Stops answering within one token; the weights stay."""
        self._activity.end()
        for camera in self._cameras:
            camera.end()
        if self._inference is not None:
            self._inference.join(timeout=_QUIET_S)

    def close(self) -> None:
        self._end_activity()
        if self._inference is not None:  # it may be in the middle of a forward pass
            self._inference.join(timeout=_FREE_S)
            self._inference = None
        super().close()

    def _release(self) -> None:
        if self._engine is not None:
            self._engine = None
            give_back_memory()

    def _set_back(self) -> None:
        self.get_logger().info("the clock was set back: what was said of the time before is forgotten")
        for camera in self._cameras:
            camera.begin_anew()

    # -- a model that hangs ------------------------------------------------------------------------------------------

    def _watched(self, pulse: Pulse, factor: float = 1.0) -> Watchdog | None:
        declared = factor * float(self._settings["watchdog"])
        return Watchdog(pulse, declared, self._on_hang) if declared else None

    def _on_hang(self, still: float, where: str) -> None:
        """On the watchdog's thread: the one that spins may wait for the one that hangs."""
        hangs = recent(self._hangs, time.monotonic())
        state = str(self._state_machine.current_state[1])
        if too_many(hangs):
            state = "unconfigured"
        elif state not in ("unconfigured", "inactive", "active"):  # on the way
            state = self.first_state
        text = f"the model hangs: no progress for {still:.1f} s in {where}. "
        if self._replace_with is None:
            text += "Start this process again"
        elif too_many(hangs):
            text += (
                f"It is the {len(hangs)}. time within minutes: this process is replaced and stays unconfigured. "
                "Look at the GPU (dmesg, nvidia-smi) and its driver, or take another device or model; then configure it"
            )
        else:
            text += f"This process is replaced and comes back {state}; a slow model needs a longer 'watchdog'"
        self.get_logger().fatal(text)
        try:
            for camera in self._cameras:
                camera.stuck(text)
            if self._cameras:
                self._report()
                self._diagnostics.wait_for_all_acked(Duration(seconds=_ACKED_S))
        except Exception as error:  # whatever the node is doing meanwhile, it has to come back
            self.get_logger().error(f"the diagnostics of that are not told: {error!r}")
        if self._replace_with is not None:
            self._replace_with(self._to_carry(state, hangs, text))

    def _to_carry(self, state: str, hangs: tuple[float, ...], why: str) -> Carried:
        told = {parameter.name: self._settings[parameter.name] for parameter in edge_parameters.PARAMETERS}
        cameras = list(self._cameras)
        before = self._carried or Carried(state)  # what was not taken up yet
        questions = {camera.name: camera.question.text for camera in cameras if camera.question is not None}
        contexts = {
            camera.name: serialize_message(camera.newest_context)
            for camera in cameras
            if camera.newest_context is not None
        }
        return Carried(
            state=state,
            parameters={name: value for name, value in told.items() if value != []},
            questions={**before.questions, **questions},
            contexts={**before.contexts, **contexts},
            hangs=hangs,
            why=why,
        )

    # -- parameters --------------------------------------------------------------------------------------------------

    def _on_parameters(self) -> None:
        value = self._settings
        asked = str(value["question"])
        another = asked != self._asked
        if another and asked:
            checked_question(asked)
        elif another and self._cameras:
            raise ParameterError(
                "question = '': a standing question can be replaced, not taken away; deactivate the node to stop it"
            )
        replacement, focus = edge_parameters.replacement(value), edge_parameters.focus(value)
        choices = edge_parameters.choices(value)
        for camera in self._cameras:
            before = camera.pipeline.focus
            try:
                camera.pipeline.focus = focus
                camera.pipeline.choices = choices
            except EngineError as error:
                camera.pipeline.focus = before
                raise ParameterError(str(error)) from error
            camera.pipeline.replacement = replacement
            if another:
                camera.ask(asked)
        self._asked = asked


def _infer(
    cameras: Sequence[EdgeCamera],
    activity: Activity,
    before: threading.Thread | None,
    watched: Callable[[Pulse], Watchdog | None],
) -> None:
    """The inference thread, from activation to deactivation. before: the last one, which may still be ending."""
    if before is not None:
        before.join()
    watchdog = watched(activity.pulse)
    try:
        while activity.wait():
            while sum(camera.step(activity) for camera in cameras):  # not any(): each has its turn
                pass
    finally:
        if watchdog is not None:
            watchdog.close()


def main(args: list[str] | None = None) -> None:
    carried = carried_over()
    run(lambda: EdgeNode(carried, replace_process), args)

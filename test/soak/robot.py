# SPDX-License-Identifier: Apache-2.0
"""The robot of a soak: the real graph as processes of its own, whoever does things to it, and who watches it.

Only what a user of the graph has is used: topics, services, the action, the lifecycle, and what the system says about
processes. What comes out are plain samples; what they mean is in `figures`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import rclpy
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image as ImageMsg
from std_msgs.msg import String

from edgevlm_msgs.action import Ask
from edgevlm_msgs.msg import Answer, CloudContext
from edgevlm_msgs.srv import SetQuestion
from edgevlm_ros.assets import share_dir
from edgevlm_ros.cloud.server import LvlmServer
from edgevlm_ros.evaluation.process_use import process_use
from edgevlm_ros.graph import GraphError, environment, free_domain, yaml_scalar
from edgevlm_ros.nodes import qos
from edgevlm_ros.processes import Processes, last_words, module_command
from edgevlm_ros.transfer.types import Status
from soak.camera import ORDERS
from soak.cloud import FaultyCloud
from soak.figures import Mark, Reply, Sample, Samples
from soak.schedule import BRIDGE, EDGE, PHASE, RECORDER, VALUES, Step

CAMERA, SERVER, SELF = "camera", "lvlm_server", "soak"
BUNDLED, SCRIPTED = "bundled", "scripted"

_READY_S = 120.0
_POLL_S = 0.05
_SETTLE_S = 1.0  # for contexts that are under way between processes
_TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}

Check = Callable[[], None]
Tell = Callable[[float, str, int], None]
"""Of seconds passed, what is being done, and answers until then."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is put through which life. rate: images a second. cloud: BUNDLED, the real server, or SCRIPTED, one that
    says the same always. keyframe_period, timeout: of the bridge, seconds. sample_s: between two looks at the
    processes."""

    model: str
    rate: float
    width: int
    height: int
    cloud: str
    keyframe_period: float
    timeout: float
    threads: int = 1
    sample_s: float = 1.0
    domain: int | None = None


AnyRobot = TypeVar("AnyRobot", bound="Robot")


class Robot:
    """A context manager: the graph is up and active inside, and gone outside. check: called often, may raise.

    Raises GraphError, ProcessError, ServerError.
    """

    def __init__(self, asked: Asked, out: Path, check: Check) -> None:
        self.samples = Samples()
        self._asked, self._check = asked, check
        self._logs, self._record = out / "logs", out / "record"
        self._domain = free_domain() if asked.domain is None else asked.domain
        self._processes = Processes(self._logs)
        self._server: LvlmServer | None = None
        self._sampled = self._began = time.monotonic()
        self._watching = False
        self._stack = contextlib.ExitStack()

    # -- up and down -------------------------------------------------------------------------------------------------

    def __enter__(self: AnyRobot) -> AnyRobot:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _start(self, stack: contextlib.ExitStack) -> None:
        asked = self._asked
        os.environ.update(environment(self._domain, self._logs))
        self._logs.mkdir(parents=True, exist_ok=True)
        upstream = ""
        if asked.cloud == BUNDLED:
            self._server = LvlmServer(log=self._logs / f"{SERVER}.log")
            stack.callback(self._server.stop)
            self._server.start()
            upstream = self._server.base_url
        self._cloud = stack.enter_context(FaultyCloud(upstream))
        self._node = stack.enter_context(_listening(self._domain))
        self._executor = SingleThreadedExecutor(context=self._node.context)
        stack.callback(self._executor.shutdown)
        self._executor.add_node(self._node)
        self._wire()
        stack.enter_context(self._processes)
        self._start_camera()
        for node, parameters in self._parameters().items():
            words = ["--params-file", str(share_dir() / "config" / "edgevlm.yaml")]
            words += [word for name, value in parameters.items() for word in ("-p", f"{name}:={yaml_scalar(value)}")]
            self._processes.start(node, module_command("edgevlm_ros.nodes", node, "--ros-args", *words))
        if self._server is not None:
            self._server.wait_ready()
        for node in (EDGE, BRIDGE):
            self._change(node, "configure", "activate")
        self._need(lambda: self.samples.answers, "no answer")
        self._need(lambda: self.samples.replies, "no reply of the cloud")

    def _parameters(self) -> dict[str, dict[str, object]]:
        asked = self._asked
        edge = {"model": asked.model, "threads": asked.threads, "question": VALUES["question"][0]}
        bridge = {"base_url": self._cloud.base_url, "timeout": asked.timeout, "keyframe_period": asked.keyframe_period}
        return {
            EDGE: {"autostart": False, "image_transport": "compressed", **edge},
            BRIDGE: {"autostart": False, "image_transport": "raw", **bridge},
            RECORDER: {"folder": str(self._record), "overlay": False},
        }

    def _start_camera(self) -> None:
        asked = self._asked
        words = ("--rate", str(asked.rate), "--width", str(asked.width), "--height", str(asked.height))
        self._processes.start(CAMERA, module_command("soak.camera", *words))

    def _wire(self) -> None:
        node = self._node
        node.create_subscription(Answer, "answer", self._on_answer, qos.EVENTS)
        self._contexts = node.create_subscription(CloudContext, "context", self._on_context, qos.EVENTS)
        self._orders = node.create_publisher(String, ORDERS, qos.EVENTS)
        self._question = node.create_client(SetQuestion, "set_question")
        self._ask = ActionClient(node, Ask, "ask")
        self._changes = {name: node.create_client(ChangeState, f"/{name}/change_state") for name in (EDGE, BRIDGE)}
        self._settings = {name: node.create_client(SetParameters, f"/{name}/set_parameters") for name in (EDGE, BRIDGE)}
        self._viewer: Any = None

    # -- the run -----------------------------------------------------------------------------------------------------

    def live(self, steps: list[Step], seconds: float, tell: Tell) -> Samples:
        """Goes through all steps, each at its time or as soon after it as the one before is done, and to the end."""
        self.samples = Samples()
        self._began = time.monotonic()
        self._watching = True

        def until(at: float, what: str) -> None:
            while (left := at - self._passed) > 0:
                tell(self._passed, what, len(self.samples.answers))
                self.wait(lambda: False, min(left, 0.5))

        doing = ""
        for step in steps:
            until(step.at, doing)
            doing = f"{step.kind} {step.value}".strip() if step.begins else doing
            self._do(step)
        until(seconds, doing)
        self._change(BRIDGE, "deactivate")  # what is under way ends as a context too
        self.wait(lambda: False, _SETTLE_S)
        self.samples.ended = self._passed
        self._watching = False
        return self.samples

    def wait(self, condition: Callable[[], object], timeout: float) -> bool:
        """Listens, and looks at the processes, until something is so; whether it came to be in time."""
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._check()
            self._processes.check()
            self._look()
            self._executor.spin_once(timeout_sec=min(left, _POLL_S))
        return True

    @property
    def _passed(self) -> float:
        return time.monotonic() - self._began

    def _need(self, condition: Callable[[], object], otherwise: str) -> None:
        if not self.wait(condition, _READY_S):
            raise GraphError(f"{otherwise} after {_READY_S:.0f} s; logs in {self._logs}")

    def _look(self) -> None:
        """One sample of every process, if it is time."""
        now = time.monotonic()
        if not self._watching or now - self._sampled < self._asked.sample_s:
            return
        self._sampled = now
        pids = {name: self._processes.pid(name) for name in (EDGE, BRIDGE, RECORDER, CAMERA)}
        if self._server is not None and self._server.pid is not None:
            pids[SERVER] = self._server.pid
        pids[SELF] = os.getpid()
        for name, pid in pids.items():
            use = process_use(pid)
            descriptors = len(os.listdir(f"/proc/{pid}/fd"))
            self.samples.uses.append(
                Sample(self._passed, name, pid, use.memory, use.private, len(use.threads), descriptors, use.cpu)
            )
        self.samples.shared.append((self._passed, shutil.disk_usage("/dev/shm").used))

    def _on_answer(self, message: Answer) -> None:
        self.samples.answers.append(self._passed)

    def _on_context(self, message: CloudContext) -> None:
        status = Status(message.status).name.lower()
        self.samples.replies.append(Reply(self._passed, message.keyframe_id, status))

    # -- what is done to it ------------------------------------------------------------------------------------------

    def _do(self, step: Step) -> None:
        self.samples.marks.append(Mark(self._passed, step.kind, step.value, step.begins))
        if step.kind != PHASE:
            getattr(self, f"_do_{step.kind}")(step.value, step.begins)

    def _do_fault(self, fault: str, begins: bool) -> None:
        if begins:
            self._cloud.fail(fault)
        else:
            self._cloud.recover()

    def _do_question(self, text: str, begins: bool) -> None:
        self._called(self._question, SetQuestion.Request(text=text))

    def ask(self, how: str) -> Any:
        """The future of the result of a goal that was accepted. how: edge, cloud, canceled."""
        goal = Ask.Goal(question="Where is the person?", wait_for_cloud=how != "edge", deadline=self._asked.timeout)
        self._need(self._ask.server_is_ready, "nobody serves 'ask'")
        accepted = self._ask.send_goal_async(goal)
        self._need(accepted.done, "a goal of 'ask' is not accepted")
        handle = accepted.result()
        if how == "canceled":
            handle.cancel_goal_async()
        result = handle.get_result_async()
        result.add_done_callback(lambda done: self._count_ask(how, done.result()))
        return result

    def _do_ask(self, how: str, begins: bool) -> None:
        """Does not wait for the answer; what comes of it is counted."""
        self.ask(how)

    def _count_ask(self, how: str, done: Any) -> None:
        result = done.result
        said = "answered" if done.status == GoalStatus.STATUS_SUCCEEDED else f"error {result.error_code}"
        if said == "answered" and how == "cloud":
            said += " by the cloud" if result.answer.source == Answer.SOURCE_CLOUD else " by the edge"
        self.samples.asks[f"{how}: {said}"] += 1

    def _do_focus(self, mode: str, begins: bool) -> None:
        self._set(EDGE, "focus.mode", mode)

    def _do_viewer(self, topic: str, begins: bool) -> None:
        """Somebody looks at the overlay for a while, which is drawn only then."""
        if begins:
            self._viewer = self._node.create_subscription(ImageMsg, topic, lambda message: None, qos.NEWEST_IMAGE)
        elif self._viewer is not None:
            self._node.destroy_subscription(self._viewer)
            self._viewer = None

    def _do_size(self, size: str, begins: bool) -> None:
        self._order(f"size {size}")

    def _do_bad(self, count: str, begins: bool) -> None:
        self._order(f"bad {count}")

    def _do_pause(self, nothing: str, begins: bool) -> None:
        self._order("pause" if begins else "resume")

    def _do_stamps(self, shift: str, begins: bool) -> None:
        self._order(f"stamps {shift}")

    def _do_camera(self, nothing: str, begins: bool) -> None:
        """The driver is started anew."""
        self._processes.stop(CAMERA)
        self._start_camera()

    def _do_cycle(self, node: str, begins: bool) -> None:
        self._change(node, "deactivate" if begins else "activate")

    def _do_reload(self, what: str, begins: bool) -> None:
        """All that a node loaded is given back and loaded again; its images come another way from then on."""
        node, transport = what.split()
        if begins:
            self._change(node, "deactivate", "cleanup")
            self._set(node, "image_transport", transport)
        else:
            self._change(node, "configure", "activate")

    def _order(self, words: str) -> None:
        self._orders.publish(String(data=words))

    def _change(self, node: str, *transitions: str) -> None:
        for transition in transitions:
            request = ChangeState.Request(transition=Transition(id=_TRANSITIONS[transition]))
            if not self._called(self._changes[node], request).success:
                raise GraphError(f"{node} refuses to {transition}: {last_words(self._processes.log(node))}")
            if node == BRIDGE and transition in ("configure", "cleanup"):  # else its first words may be lost
                there = transition == "configure"
                self._need(
                    lambda there=there: bool(self._contexts.get_publisher_count()) is there,  # type: ignore[misc]
                    f"'context' of {BRIDGE} does not {'come' if there else 'go'}",
                )

    def _set(self, node: str, name: str, value: str) -> None:
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        result = self._called(self._settings[node], request).results[0]
        if not result.successful:
            raise GraphError(f"{node} refuses {name} = {value!r}: {result.reason}")

    def _called(self, client: Any, request: Any) -> Any:
        self._need(client.service_is_ready, f"nobody serves {client.srv_name}")
        call = client.call_async(request)
        self._need(call.done, f"{client.srv_name} does not answer")
        return call.result()


@contextlib.contextmanager
def _listening(domain: int) -> Iterator[Any]:
    """A node of the robot's watcher, in a context of its own."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("soak", context=context, start_parameter_services=False, enable_rosout=False)
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()

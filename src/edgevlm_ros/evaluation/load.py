# SPDX-License-Identifier: Apache-2.0
"""One run of the edge node under load: the real node as its own process, a camera that is faster than the model.

Only what a user sees of the node is used: topics, the lifecycle, and what the system says about its process. What comes
out are plain samples; what they mean is in load_figures.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from edgevlm_msgs.msg import Answer, Metrics
from edgevlm_ros.assets import share_dir
from edgevlm_ros.evaluation.process_use import Use, machine_cpu, process_use
from edgevlm_ros.graph import GraphError, environment, free_domain, yaml_scalar
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.conversions import to_nanoseconds
from edgevlm_ros.processes import Processes, last_words, module_command

NODE, CAMERA, ALONE = "edge_node", "camera", "engine_alone"

_READY_S = 120.0
_ANSWER_S = 60.0  # for an answer of the slowest model that is still one for a stream
_POLL_S = 0.05
_SAMPLE_S = 1.0
_SILENCE_S = 1.0  # in which an answer after a deactivation would be heard

Check = Callable[[], None]
Tell = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is put under which load. model: as the node takes it. tokens: of the longest answer. seconds: of the stream.

    alone: seconds in which the engine alone is measured, before the stream and after it. rate: images a second.
    cycles: how often the node is activated and deactivated.
    """

    model: str
    question: str
    tokens: int
    threads: int
    seconds: float
    alone: float
    rate: float
    width: int
    height: int
    cycles: int
    domain: int | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer as a subscriber got it: at, seconds on the steady clock; age, inference: as it says; stamp_age: seconds
    from its frame's stamp until it was here."""

    at: float
    age: float
    inference: float
    stamp_age: float


@dataclass(frozen=True, slots=True)
class Cycle:
    """Seconds from the call of a transition: of `activate` to the first answer, of `deactivate` to the last answer that
    was heard (0 if none was), and until the node said that it is done."""

    first_answer: float
    last_answer: float
    deactivated: float


@dataclass(frozen=True, slots=True)
class Alone:
    """The engine by itself: seconds of each answer, and CPU seconds of all of them together."""

    seconds: list[float]
    cpu: float


@dataclass(slots=True)
class Samples:
    """All that a run gave. answers: of the stream, oldest first. uses: of the node's process, the first one at the
    stream's beginning. images: (at, seen by the node until then), of its metrics. alone: before the stream and after
    it. cpu: seconds in the stream of the whole machine, of the node, of the camera and of this process."""

    answers: list[Heard] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    images: list[tuple[float, int]] = field(default_factory=list)
    cycles: list[Cycle] = field(default_factory=list)
    alone: list[Alone] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)


class Listener:
    """A node that hears the answers and the metrics and asks for transitions. log: of the edge node."""

    def __init__(self, context: Any, log: Path, check: Check) -> None:
        self.node = rclpy.create_node("load", context=context, start_parameter_services=False, enable_rosout=False)
        self.answers: list[Heard] = []
        self.images: list[tuple[float, int]] = []
        self._log, self._check = log, check
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self._change = self.node.create_client(ChangeState, f"/{NODE}/change_state")
        self.node.create_subscription(Answer, "answer", self._on_answer, qos.EVENTS)
        self.node.create_subscription(Metrics, "metrics", self._on_metrics, qos.EVENTS)

    def spin_until(self, condition: Callable[[], object], timeout: float) -> bool:
        """Listens until something is so; whether it came to be in time."""
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._check()
            self._executor.spin_once(timeout_sec=min(left, _POLL_S))
        return True

    def need(self, condition: Callable[[], object], timeout: float, otherwise: str) -> None:
        """Listens until something is so; raises GraphError if it does not come to be."""
        if not self.spin_until(condition, timeout):
            raise GraphError(f"{otherwise} after {timeout:.0f} s")

    def change(self, transition: int, name: str) -> float:
        """When a transition was called for, on the steady clock; returns when the node says that it is made."""
        self.need(self._change.service_is_ready, _READY_S, f"{NODE} has no lifecycle services")
        began = time.monotonic()
        called = self._change.call_async(ChangeState.Request(transition=Transition(id=transition)))
        self.need(called.done, _READY_S, f"{NODE} does not {name}")
        if not called.result().success:
            raise GraphError(f"{NODE} refuses to {name}: {last_words(self._log)} ({self._log})")
        return began

    def _on_answer(self, message: Answer) -> None:
        stamp_age = (time.time_ns() - to_nanoseconds(message.header.stamp)) / 1e9
        self.answers.append(Heard(time.monotonic(), message.frame_age, message.inference_time, stamp_age))

    def _on_metrics(self, message: Metrics) -> None:
        if message.node == NODE:
            self.images.append((time.monotonic(), message.frames_seen))

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()


def measure(asked: Asked, out: Path, check: Check, tell: Tell) -> Samples:
    """Runs it all; nothing is left running, whatever happens. tell: of each stage, and of the seconds passed in it.

    Raises GraphError and ProcessError.
    """
    domain = free_domain() if asked.domain is None else asked.domain
    os.environ.update(environment(domain, out / "logs"))
    samples = Samples()
    with Processes(out / "logs") as processes:

        def checked() -> None:
            check()
            processes.check(ALONE)

        with _listening(domain, processes.log(NODE), checked) as listener:
            processes.start(NODE, module_command("edgevlm_ros.nodes", NODE, "--ros-args", *_words(asked)))
            processes.start(CAMERA, module_command("edgevlm_ros.evaluation.load_camera", *_camera(asked)))
            tell("loading", 0.0)
            listener.change(Transition.TRANSITION_CONFIGURE, "configure")
            listener.need(lambda: listener.node.count_publishers("image"), _READY_S, "the camera shows nothing")
            samples.alone.append(_alone(asked, out, processes, listener, tell))
            _stream(asked, samples, processes, listener, tell)
            samples.alone.append(_alone(asked, out, processes, listener, tell))
    return samples


@contextlib.contextmanager
def _listening(domain: int, log: Path, check: Check) -> Iterator[Listener]:
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
    listener = Listener(context, log, check)
    try:
        yield listener
    finally:
        listener.close()
        context.try_shutdown()


def _alone(asked: Asked, out: Path, processes: Processes, listener: Listener, tell: Tell) -> Alone:
    """The engine's answers while the node is idle."""
    result = out / f".{ALONE}.json"
    words = ["--model", asked.model, "--question", asked.question, "--tokens", str(asked.tokens)]
    words += ["--threads", str(asked.threads), "--seconds", str(asked.alone), "--result", str(result), *_camera(asked)]
    processes.start(ALONE, module_command("edgevlm_ros.evaluation.engine_alone", *words))
    began = time.monotonic()
    while not processes.ended(ALONE):
        tell("the engine alone", min(time.monotonic() - began, asked.alone))
        listener.spin_until(lambda: False, _SAMPLE_S / 2)
        if time.monotonic() - began > asked.alone + _READY_S:
            raise GraphError(f"the engine alone does not end; see {processes.log(ALONE)}")
    tell("the engine alone", asked.alone)
    measured = Alone(**json.loads(result.read_text()))
    result.unlink()
    return measured


def _stream(asked: Asked, samples: Samples, processes: Processes, listener: Listener, tell: Tell) -> None:
    """Activates, listens, deactivates; then so again for a moment, as often as asked."""
    pid, camera = processes.pid(NODE), processes.pid(CAMERA)
    first = _activated(listener)
    at_first = machine_cpu(), process_use(camera).cpu, time.process_time()
    samples.uses.append(process_use(pid))
    began = samples.uses[0].at
    while (passed := time.monotonic() - began) < asked.seconds:
        tell("the node under load", passed)
        listener.spin_until(lambda: False, min(_SAMPLE_S, asked.seconds - passed))
        samples.uses.append(process_use(pid))
    at_last = machine_cpu(), process_use(camera).cpu, time.process_time()
    tell("the node under load", asked.seconds)
    samples.cpu = dict(
        zip(("machine", CAMERA, "load"), (b - a for a, b in zip(at_first, at_last, strict=True)), strict=True)
    )
    samples.cpu[NODE] = samples.uses[-1].cpu - samples.uses[0].cpu
    samples.answers = [heard for heard in listener.answers if heard.at >= began]
    samples.images = [image for image in listener.images if image[0] >= began]
    samples.cycles.append(_deactivated(listener, first))
    for number in range(1, asked.cycles):
        tell("on and off", 0.0)
        first = _activated(listener)
        count, phase = len(listener.answers), number / asked.cycles * listener.answers[-1].inference
        listener.need(lambda count=count: len(listener.answers) > count, _ANSWER_S, "no second answer")  # type: ignore[misc]
        listener.spin_until(lambda: False, phase)  # so that each one comes at another point of the inference
        samples.cycles.append(_deactivated(listener, first))


def _activated(listener: Listener) -> float:
    """Seconds from the call of `activate` to the first answer."""
    count = len(listener.answers)
    began = listener.change(Transition.TRANSITION_ACTIVATE, "activate")
    listener.need(lambda: len(listener.answers) > count, _ANSWER_S, "no answer")
    return listener.answers[count].at - began


def _deactivated(listener: Listener, first: float) -> Cycle:
    began = listener.change(Transition.TRANSITION_DEACTIVATE, "deactivate")
    done = time.monotonic() - began
    listener.spin_until(lambda: False, _SILENCE_S)
    return Cycle(first, max(listener.answers[-1].at - began, 0.0), done)


def _words(asked: Asked) -> list[str]:
    """The node's arguments, as a launch file would give them."""
    parameters = {
        "autostart": False,
        "model": asked.model,
        "question": asked.question,
        "max_new_tokens": asked.tokens,
        "threads": asked.threads,
    }
    words = ["--params-file", str(share_dir() / "config" / "edgevlm.yaml")]
    return words + [word for name, value in parameters.items() for word in ("-p", f"{name}:={yaml_scalar(value)}")]


def _camera(asked: Asked) -> list[str]:
    return ["--rate", str(asked.rate), "--width", str(asked.width), "--height", str(asked.height)]

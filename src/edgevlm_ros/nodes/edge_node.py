# SPDX-License-Identifier: Apache-2.0
"""The edge node: answers every frame it can about the standing question, and takes in what the cloud says.

An image callback only stores the newest frame; one inference thread always takes the newest, so frames are dropped and
counted, never queued. Nothing that comes in on a topic can end the node.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg

from edgevlm_msgs.msg import Answer as AnswerMsg
from edgevlm_msgs.msg import CloudContext as CloudContextMsg
from edgevlm_msgs.msg import Focus as FocusMsg
from edgevlm_msgs.msg import Metrics as MetricsMsg
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_msgs.srv import SetQuestion
from edgevlm_ros import overlay
from edgevlm_ros.assets import model_path
from edgevlm_ros.edge.engine import Engine, EngineError
from edgevlm_ros.edge.loading import QUANTIZATIONS, EngineSettings, load_engine
from edgevlm_ros.edge.preset import load_preset
from edgevlm_ros.edge.served import ServedEngine, ServedSettings
from edgevlm_ros.images import ImageError, to_image, to_rgb
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.camera_node import CAMERA_PARAMETERS, CameraNode, Health, checked_question, percentile
from edgevlm_ros.nodes.conversions import to_answer_msg, to_context, to_focus_msg, to_nanoseconds
from edgevlm_ros.nodes.parameters import Parameter, ParameterError
from edgevlm_ros.nodes.run import run
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.slot import NewestSlot
from edgevlm_ros.transfer.focus import CARRY_MODES, FOCUS_MODES, Focus
from edgevlm_ros.transfer.history import Replacement
from edgevlm_ros.transfer.types import Answer, Frame, Outcome, Question

_PRESET = -1.0
# Of the frames that are not answered, so many are looked at to follow regions: 5 Hz is what tracking was measured at.
_NOTICE_PERIOD_S = 0.2

PARAMETERS = (
    *CAMERA_PARAMETERS,
    Parameter("model", "micro_svlm", "A bundled model's name, a folder in Hugging Face layout, or a hub id."),
    Parameter("device", "auto", "auto, cpu, cuda or cuda:N."),
    Parameter("quantization", "none", "Weights of the language model, by bitsandbytes.", choices=QUANTIZATIONS),
    Parameter("threads", 0, "CPU threads of torch; 0 leaves the choice to it.", 0, 256),
    Parameter(
        "server_url",
        "",
        "An OpenAI-compatible server on the robot (such as http://localhost:8080/v1) that runs 'model' "
        "instead of transformers; empty for none.",
    ),
    Parameter("api_key_env", "", "Environment variable that holds that server's key; empty for none."),
    Parameter("api_key_file", "", "File that holds that server's key; empty for none."),
    Parameter("system_prompt", "", "Told to the model before everything else, if not empty."),
    Parameter("max_new_tokens", 32, "Longest answer, in tokens.", 1, 1024),
    Parameter("prompt_reuse", True, "Whether the text before the image is prefilled once for all frames."),
    Parameter("image_splitting", False, "SmolVLM, Idefics3: cut a frame into many tiles; finer, many times slower."),
    Parameter("question", "", "The standing question; empty to wait for one on 'question'.", live=True),
    Parameter("replacement.enabled", True, "Whether cloud answers are told to the model.", live=True),
    Parameter("replacement.max_turns", 1, "Turns of history in the prompt.", 0, 64, live=True),
    Parameter(
        "replacement.later_turns",
        "drop",
        "Edge turns after a corrected keyframe.",
        choices=("drop", "keep"),
        live=True,
    ),
    Parameter("replacement.own_turns", False, "Whether the edge's own answers are told to it too.", live=True),
    Parameter("replacement.provenance", True, "Whether turns say who spoke and how long ago.", live=True),
    Parameter(
        "replacement.max_context_age",
        15.0,
        "Seconds after which a cloud answer is no longer told.",
        0.0,
        3600.0,
        live=True,
    ),
    Parameter("replacement.max_tokens", 64, "Longest cloud answer told, in tokens.", 1, 4096, live=True),
    Parameter("replacement.max_history_tokens", 1024, "All turns in the prompt together.", 0, 65536, live=True),
    Parameter(
        "replacement.min_similarity",
        Replacement().min_similarity,
        "Below it the scene has changed and the context is suspended; 0 never suspends.",
        0.0,
        1.0,
        live=True,
    ),
    Parameter(
        "focus.mode",
        "crop",
        f"How regions steer the model's eyes: none, or some of {', '.join(FOCUS_MODES)}, joined by +.",
        live=True,
    ),
    Parameter(
        "focus.beta",
        _PRESET,
        "attention: strength of the bias; -1 takes the value that 'edgevlm calibrate' found for the model.",
        -1.0,
        10.0,
        live=True,
    ),
    Parameter("focus.layers", "all", "attention: decoder layers to steer, 'all' or indices such as '2,3'."),
    Parameter("focus.keep", 0.5, "prune: share of the frame's visual tokens that stay.", 0.01, 1.0, live=True),
    Parameter("focus.dim", 0.35, "overlay: brightness left outside the regions.", 0.0, 1.0, live=True),
    Parameter(
        "focus.crop_margin", 1.4, "crop: size of the second view over that of the regions.", 1.0, 10.0, live=True
    ),
    Parameter(
        "focus.crop_min_fraction", 0.3, "crop: smallest second view, of the frame's width.", 0.01, 1.0, live=True
    ),
    Parameter(
        "focus.pixel_budget",
        2.0,
        "crop: pixels of both views together over those of a whole frame; 2 shows each in full.",
        0.05,
        2.0,
        live=True,
    ),
    Parameter(
        "focus.carry",
        Focus().carry,
        "How regions follow the scene from the keyframe to the frame.",
        choices=CARRY_MODES,
        live=True,
    ),
    Parameter("focus.half_life", 4.0, "Seconds in which the confidence in a region halves.", 0.01, 3600.0, live=True),
    Parameter("focus.min_confidence", 0.2, "A region below it is forgotten.", 0.0, 1.0, live=True),
)


@dataclass(frozen=True, slots=True)
class _Arrival:
    """An image as it came, and when: seconds on the steady clock."""

    message: ImageMsg | CompressedImage
    received: float


class _Counters:
    """What the node has seen and done since it was activated; see Metrics.msg."""

    def __init__(self) -> None:
        self.seen = self.answered = self.dropped = self.bad = self.applied = self.ignored = self.suspended = 0
        self.inference: deque[float] = deque(maxlen=100)
        self.overhead: deque[float] = deque(maxlen=100)


class EdgeNode(CameraNode):
    """In also `context`; out also `answer`, `focus`, `focus/map`, `focus/overlay`; service `set_question`."""

    def __init__(self, **kwargs: Any) -> None:
        self._pipeline: Pipeline | None = None
        self._active = threading.Event()
        self._slot: NewestSlot[_Arrival] = NewestSlot()
        self._inference: threading.Thread | None = None
        self._counters = _Counters()
        self._noticed = 0.0
        super().__init__("edge_node", PARAMETERS, **kwargs)

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def _configure(self) -> None:
        started = time.monotonic()
        if self._settings["question"]:
            checked_question(self._settings["question"])
        engine = self._engine()
        self._pipeline = Pipeline(engine, Question(""), self._replacement(), self._focus(), background=True)
        can = engine.capabilities
        self.get_logger().info(
            f"{engine.name} is ready after {time.monotonic() - started:.1f} s: it can be focused by "
            f"{', '.join(sorted(can.focus_modes))}; prompt reuse {'on' if can.reuse else 'off'}"
        )
        self._answers = self._publisher(AnswerMsg, "answer")
        self._focuses = self._publisher(FocusMsg, "focus")
        self._maps = self._publisher(ImageMsg, "focus/map")
        self._overlays = self._publisher(ImageMsg, "focus/overlay")
        self._questions = self._publisher(QuestionMsg, "question", qos.LATCHED)

    def _activate(self) -> None:
        self._counters = _Counters()
        self._slot = NewestSlot()
        self._active.set()
        self._inference = threading.Thread(target=self._infer, name="inference", daemon=True)
        self._inference.start()
        contexts = self.create_subscription(CloudContextMsg, "context", self._on_context, qos.EVENTS)
        service = self.create_service(SetQuestion, "set_question", self._on_set_question)
        self._entities += [(self.destroy_subscription, contexts), (self.destroy_service, service)]
        if self._settings["question"]:
            self._ask(self._settings["question"])
        self.get_logger().info(f"answering the frames of {self._image_topic}")

    def _quiet(self) -> None:
        """Stops answering within one token; the weights stay."""
        self._active.clear()
        self._slot.close()
        if self._inference is not None:
            self._inference.join(timeout=10.0)
            self._inference = None

    def _release(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    # -- parameters --------------------------------------------------------------------------------------------------

    def _engine(self) -> Engine:
        value = self._settings
        if value["server_url"]:
            self.get_logger().info(f"connecting to {value['server_url']}")
            # the default names a bundled model, which no server knows: it serves one of its own
            asked = "" if value["model"] == "micro_svlm" else value["model"]
            return ServedEngine(
                ServedSettings(
                    value["server_url"],
                    model=asked,
                    api_key_env=value["api_key_env"],
                    api_key_file=value["api_key_file"],
                    system_prompt=value["system_prompt"],
                    max_new_tokens=value["max_new_tokens"],
                )
            )
        self.get_logger().info(f"loading {value['model']}")
        return load_engine(
            EngineSettings(
                model=model_path(value["model"]),
                device=value["device"],
                quantization=value["quantization"],
                threads=value["threads"],
                system_prompt=value["system_prompt"],
                max_new_tokens=value["max_new_tokens"],
                focus_layers=_layers(value["focus.layers"]),
                reuse=value["prompt_reuse"],
                image_splitting=value["image_splitting"],
            )
        )

    def _replacement(self) -> Replacement:
        value = self._settings
        return Replacement(
            enabled=value["replacement.enabled"],
            max_turns=value["replacement.max_turns"],
            later_turns=value["replacement.later_turns"],
            own_turns=value["replacement.own_turns"],
            provenance=value["replacement.provenance"],
            max_context_age=value["replacement.max_context_age"],
            max_tokens=value["replacement.max_tokens"],
            max_history_tokens=value["replacement.max_history_tokens"],
            min_similarity=value["replacement.min_similarity"],
        )

    def _focus(self) -> Focus:
        value = self._settings
        beta = value["focus.beta"]
        if beta < 0:
            beta = Focus().beta if value["server_url"] else load_preset(value["model"]).beta
        return Focus(
            mode=value["focus.mode"],
            beta=beta,
            keep=value["focus.keep"],
            dim=value["focus.dim"],
            pixel_budget=value["focus.pixel_budget"],
            carry=value["focus.carry"],
            half_life=value["focus.half_life"],
            min_confidence=value["focus.min_confidence"],
            crop_margin=value["focus.crop_margin"],
            crop_min_fraction=value["focus.crop_min_fraction"],
        )

    def _on_parameters(self) -> None:
        if self._pipeline is None:
            return
        try:
            self._pipeline.focus = self._focus()
        except EngineError as error:
            raise ParameterError(str(error)) from error
        self._pipeline.replacement = self._replacement()
        asked = self._settings["question"]
        if asked and self._active.is_set() and (self._question is None or asked != self._question.text):
            self._ask(asked)

    # -- questions and contexts --------------------------------------------------------------------------------------

    def _ask(self, text: str) -> Question:
        """Makes a question the standing one, here and for all who listen. Raises ParameterError if it cannot be."""
        question = checked_question(text)
        self._take(question)
        message = QuestionMsg(question_id=question.id, text=question.text)
        message.header.stamp = self.get_clock().now().to_msg()
        self._questions.publish(message)
        return question

    def _stand(self, question: Question) -> None:
        if self._pipeline is not None:
            self._pipeline.set_question(question)

    def _on_set_question(self, request: SetQuestion.Request, response: SetQuestion.Response) -> SetQuestion.Response:
        try:
            response.question_id = self._ask(request.text).id
            response.success = True
        except ParameterError as error:
            response.message = str(error)
        return response

    def _on_context(self, message: CloudContextMsg) -> None:
        if self._pipeline is None:
            return
        outcome = None
        try:
            outcome = self._pipeline.on_context(to_context(message))
        except Exception as error:
            self.get_logger().error(f"a message on 'context' is not taken: {error}", throttle_duration_sec=5.0)
        self._counters.applied += outcome in (Outcome.APPLIED, Outcome.SUSPENDED)
        self._counters.ignored += outcome not in (Outcome.APPLIED, Outcome.SUSPENDED)
        self._counters.suspended += outcome is Outcome.SUSPENDED

    # -- frames ------------------------------------------------------------------------------------------------------

    def _on_camera(self, message: ImageMsg | CompressedImage, now: float) -> None:
        self._counters.seen += 1
        replaced = self._slot.put(_Arrival(message, now))
        if replaced is not None:
            self._counters.dropped += 1
            self._notice(replaced)

    def _notice(self, arrival: _Arrival) -> None:
        """Lets regions follow the scene through a frame that is not answered."""
        if self._pipeline is None or arrival.received - self._noticed < _NOTICE_PERIOD_S:
            return
        self._noticed = arrival.received
        try:
            self._pipeline.notice(Frame(to_nanoseconds(arrival.message.header.stamp), to_rgb(arrival.message)))
        except ImageError as error:
            self.get_logger().error(f"{self._image_topic}: {error}", throttle_duration_sec=5.0)

    def _infer(self) -> None:
        """The inference thread: from activation to deactivation."""
        slot, pipeline = self._slot, self._pipeline
        while pipeline is not None and (arrival := slot.take()) is not None:
            try:
                self._answer(pipeline, arrival)
            except ImageError as error:
                self._counters.bad += 1
                self.get_logger().error(f"{self._image_topic}: {error}", throttle_duration_sec=5.0)
            except Exception as error:
                self._counters.bad += 1
                self.get_logger().error(f"a frame was not answered: {error!r}", throttle_duration_sec=5.0)

    def _answer(self, pipeline: Pipeline, arrival: _Arrival) -> None:
        if self._question is None:
            self._counters.dropped += 1
            return
        header = arrival.message.header
        frame = Frame(to_nanoseconds(header.stamp), to_rgb(arrival.message))
        answer = pipeline.on_frame(frame, stop=lambda: not self._active.is_set())
        if not self._active.is_set():
            return
        frame_age = time.monotonic() - arrival.received
        message = to_answer_msg(answer, header, pipeline.engine.name, frame_age)
        self._publish(self._answers, message)
        self._counters.answered += 1
        self._counters.inference.append(answer.inference_time)
        self._counters.overhead.append(frame_age - answer.inference_time)
        self._show(frame, answer, message, pipeline.focus)

    def _show(self, frame: Frame, answer: Answer, message: AnswerMsg, focus: Focus) -> None:
        strength = focus.beta if "attention" in answer.focus_mode else 0.0
        self._publish(self._focuses, to_focus_msg(answer, message.header, strength))
        if answer.focus is not None and self._maps.get_subscription_count():
            self._publish(self._maps, to_image(message.header, answer.focus.grid, "32FC1"))
        if self._overlays.get_subscription_count():
            picture = overlay.render(frame.image, answer, focus)
            self._publish(self._overlays, to_image(message.header, picture[..., ::-1], "bgr8"))

    # -- what people see ---------------------------------------------------------------------------------------------

    @property
    def _regions_dropped(self) -> int:
        return 0 if self._pipeline is None else self._pipeline.regions_dropped

    def _measured(self) -> tuple[MetricsMsg, Mapping[str, str], Health]:
        counters = self._counters
        metrics = MetricsMsg(
            frames_seen=counters.seen,
            frames_answered=counters.answered,
            frames_dropped=counters.dropped,
            frames_bad=counters.bad,
            contexts_applied=counters.applied,
            contexts_ignored=counters.ignored,
            contexts_suspended=counters.suspended,
            regions_dropped=self._regions_dropped,
            inference_p50=percentile(counters.inference, 0.5),
            inference_p95=percentile(counters.inference, 0.95),
            overhead_p95=percentile(counters.overhead, 0.95),
        )
        values = {
            "frames seen": str(counters.seen),
            "frames answered": str(counters.answered),
            "frames dropped": str(counters.dropped),
            "frames bad": str(counters.bad),
            "contexts applied": str(counters.applied),
            "contexts ignored": str(counters.ignored),
            "contexts suspended": str(counters.suspended),
            "regions dropped": str(self._regions_dropped),
            "inference p95 [ms]": f"{metrics.inference_p95 * 1e3:.0f}",
            "overhead p95 [ms]": f"{metrics.overhead_p95 * 1e3:.1f}",
        }
        return metrics, values, (DiagnosticStatus.OK, "answering")


def _layers(text: str) -> tuple[int, ...]:
    if text.strip() == "all":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ParameterError(f"focus.layers = {text!r}: it takes 'all' or indices such as '2,3'") from None


def main(args: list[str] | None = None) -> None:
    run(EdgeNode, args)


if __name__ == "__main__":
    main()

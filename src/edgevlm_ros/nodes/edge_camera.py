# SPDX-License-Identifier: Apache-2.0
"""One camera of the edge node: the newest of its frames, its conversation with the model, and what is told of both.

An image callback only stores the newest message. The node's inference thread gives every camera its turn: one frame
that is answered, and at most one question of `ask` about it. Frames that are not answered are looked at by a thread of
the camera's own. Nothing that comes in on a topic can end the node.
"""

import math
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMsg
from std_msgs.msg import String

from edgevlm_msgs.action import Ask
from edgevlm_msgs.msg import Answer as AnswerMsg
from edgevlm_msgs.msg import CloudContext as CloudContextMsg
from edgevlm_msgs.msg import Focus as FocusMsg
from edgevlm_msgs.msg import Metrics as MetricsMsg
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_msgs.srv import SetQuestion
from edgevlm_ros import overlay
from edgevlm_ros.images import ImageError, to_compressed, to_image, to_rgb
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.activity import Activity
from edgevlm_ros.nodes.arrivals import Arrival
from edgevlm_ros.nodes.asking import Asking, PendingAsk
from edgevlm_ros.nodes.camera import Camera, checked_question
from edgevlm_ros.nodes.camera_health import Health
from edgevlm_ros.nodes.camera_input import full_name
from edgevlm_ros.nodes.conversions import check_size, to_answer_msg, to_context, to_focus_msg, to_nanoseconds
from edgevlm_ros.nodes.edge_health import EdgeCounters, several_bridges
from edgevlm_ros.nodes.parameters import ParameterError
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.slot import NewestSlot
from edgevlm_ros.transfer.epoch import Epoch
from edgevlm_ros.transfer.types import Answer, Frame, Outcome, Question

# Of the frames that are not answered, so many are looked at to follow regions: 5 Hz is what tracking was measured at.
_NOTICE_PERIOD_S = 0.2


@dataclass(frozen=True)
class _Shot:
    """An image as it came, and when: seconds on the steady clock."""

    message: ImageMsg | CompressedImage
    received: float

    @cached_property
    def frame(self) -> Frame:
        """Raises ImageError."""
        return Frame(to_nanoseconds(self.message.header.stamp), to_rgb(self.message))


class EdgeCamera(Camera):
    """In also `question/text` and `context`; out also `answer`, `focus`, `focus/map`, `focus/overlay`, raw and
    compressed; service `set_question`; `ask`.

    pipeline: its own, on the engine that all cameras share. waiting, deadline: see Asking. hangs: of late, see
    resumption.
    """

    def __init__(
        self, node: LifecycleNode, name: str, pipeline: Pipeline, waiting: int, deadline: float, hangs: int = 0
    ) -> None:
        super().__init__(node, name, self._on_camera, self._stand_by, self._measure)
        self._pipeline = pipeline
        self._hangs = hangs
        self._activity: Activity | None = None
        self.newest_context: CloudContextMsg | None = None
        """The last one that was taken in."""
        self._slot: NewestSlot[_Shot] = NewestSlot()
        self._newest: _Shot | None = None
        self._epoch = Epoch()
        self._anew = False
        self._noticed = 0.0
        self._observer = ThreadPoolExecutor(1, "observer")
        self._observing: Future[None] | None = None
        self._counters = EdgeCounters()
        self._answers = self.publisher(AnswerMsg, "answer")
        self._focuses = self.publisher(FocusMsg, "focus")
        self._maps = self.publisher(ImageMsg, "focus/map")
        self._overlays = self.publisher(ImageMsg, "focus/overlay")
        self._overlay_jpegs = self.publisher(CompressedImage, "focus/overlay/compressed")
        self._questions = self.publisher(QuestionMsg, "question", qos.LATCHED)
        self._asking = Asking(node, self.prefix, waiting, deadline, self._ready, self._wake)
        self._asked_before = (0, 0)

    @property
    def pipeline(self) -> Pipeline:
        return self._pipeline

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def open(self, transport: str) -> None:
        super().open(transport)
        self.subscribe(String, "question/text", self._on_question_text)
        self.subscribe(CloudContextMsg, "context", self._on_context)
        self.serve(SetQuestion, "set_question", self._on_set_question)

    def resume(self, question: str, context: CloudContextMsg | None) -> None:
        """Goes on where another process was, after `begin`."""
        self.ask(question)
        if context is not None:
            self._on_context(context)

    def stuck(self, text: str) -> None:
        """The model hangs; text: what people are told until the node begins anew."""
        self._counters.stuck = text

    def begin(self, activity: Activity) -> None:
        """Takes part in an active time of the node."""
        self._counters = EdgeCounters()
        self._asked_before = self._asking.answered, self._asking.refused
        self._slot, self._newest, self._epoch = NewestSlot(), None, Epoch()
        self._activity = activity

    def end(self) -> None:
        """Takes part no more: what waits is told so. May be called again."""
        self._activity = None
        self._asking.end()

    def release(self) -> None:
        """Frees what is its own; the engine is the node's."""
        self._asking.close()
        self._observer.shutdown()
        self._pipeline.close()
        super().release()
        del self._pipeline  # the executor may hold this camera until its next wait, but not the weights with it

    def begin_anew(self) -> None:
        """The clock of the stream was set back: what is waiting and what was said is of another time."""
        self._epoch.begin(time.monotonic())
        self._counters.replaced += self._slot.take() is not None
        self._anew = True

    # -- questions and contexts --------------------------------------------------------------------------------------

    def _stand_by(self, question: Question) -> None:
        self._pipeline.set_question(question)

    def ask(self, text: str) -> Question:
        """Makes a question the standing one, here and for all who listen. Raises ParameterError if it cannot be."""
        question = checked_question(text)
        self.stand(question)
        message = QuestionMsg(question_id=question.id, text=question.text)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self.publish(self._questions, message)
        return question

    def hear_question(self, message: QuestionMsg) -> None:
        if message.question_id:
            super().hear_question(message)
        else:  # of a person: published again, latched and with its id, for who comes late
            self.ask(message.text)

    def _on_question_text(self, message: String) -> None:
        self._try_question("question/text", lambda: self.ask(message.data))

    def _on_set_question(self, request: SetQuestion.Request, response: SetQuestion.Response) -> SetQuestion.Response:
        try:
            response.question_id = self.ask(request.text).id
            response.success = True
        except ParameterError as error:
            response.message = str(error)
        return response

    def _on_context(self, message: CloudContextMsg) -> None:
        now = time.monotonic()
        self._counters.last_context = now, int(message.status)
        outcome = None
        try:
            check_size(message)
            self._asking.on_context(message)
            context = to_context(message)
            if self._epoch.holds(context.stamp, now - message.delay):
                outcome = self._pipeline.on_context(context)
        except Exception as error:
            self.logger.error(f"a message on '{self.prefix}context' is not taken: {error}", throttle_duration_sec=5.0)
        if outcome in (Outcome.APPLIED, Outcome.SUSPENDED):
            self.newest_context = message
        self._counters.applied += outcome in (Outcome.APPLIED, Outcome.SUSPENDED)
        self._counters.ignored += outcome not in (Outcome.APPLIED, Outcome.SUSPENDED)
        self._counters.suspended += outcome is Outcome.SUSPENDED

    # -- frames as they come -----------------------------------------------------------------------------------------

    def _on_camera(self, message: ImageMsg | CompressedImage, now: float) -> None:
        self._counters.seen += 1
        anew = self._epoch.frame(to_nanoseconds(message.header.stamp), now)
        self._anew = self._anew or anew
        replaced = self._slot.put(_Shot(message, now))
        self._wake()
        if replaced is not None:
            self._counters.replaced += 1
            busy = self._observing is not None and not self._observing.done()
            # a frame of another time has nothing to say about this one
            if not anew and not busy and replaced.received - self._noticed >= _NOTICE_PERIOD_S:
                self._noticed = replaced.received
                self._observing = self._observer.submit(self._notice, replaced)

    def _notice(self, shot: _Shot) -> None:
        """Lets regions follow the scene through a frame that is not answered. On the camera's own thread."""
        try:
            self._pipeline.notice(shot.frame)
        except Exception as error:
            self._refuse(error)

    def _wake(self) -> None:
        if self._activity is not None:
            self._activity.wake()

    def _ready(self) -> int:
        """Whether a goal of `ask` can be served: an error code of its result."""
        if self._activity is None:
            return int(Ask.Result.ERROR_INACTIVE)
        return int(Ask.Result.ERROR_NONE if self._counters.seen else Ask.Result.ERROR_NO_FRAME)

    # -- the inference thread ----------------------------------------------------------------------------------------

    def step(self, activity: Activity) -> bool:
        """One turn: answers the newest frame if it is new, and one waiting question. Whether there was any."""
        if activity.over():
            return False
        if self._anew:
            self._anew = False
            if self._observing is not None:  # what is seen of the time before must be there to be forgotten
                wait([self._observing])
            self._pipeline.restart()
        shot = self._slot.take()
        if shot is not None:
            self._newest = shot
            with activity.pulse.step():
                self._answer(shot, activity)
        pending = None if activity.over() else self._asking.take()
        if pending is not None:
            with activity.pulse.step():
                self._serve(pending, activity)
        return shot is not None or pending is not None

    def _answer(self, shot: _Shot, activity: Activity) -> None:
        counters = self._counters
        if self.question is None:
            counters.unasked += 1
            return
        try:
            answer = self._pipeline.on_frame(shot.frame, stop=activity.stop)
            frame_age = time.monotonic() - shot.received
            message = to_answer_msg(answer, shot.message.header, self._pipeline.engine.name, frame_age)
            if not activity.publish(lambda: self.publish(self._answers, message)):
                return
            counters.answered += 1
            counters.failures_in_a_row, counters.stuck = 0, ""
            counters.inference.append(answer.inference_time)
            counters.overhead.append(frame_age - answer.inference_time)
            counters.answers.add(Arrival(time.monotonic(), answer.stamp, answer.stamp))
            counters.context_age = message.context_age if message.context_used else math.nan
            self._show(shot.frame, answer, message, activity)
        except Exception as error:
            counters.failed(error)
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        """Says what is wrong with a frame; the next one is another chance."""
        what = str(error) if isinstance(error, ImageError) else f"a frame was not answered: {error!r}"
        self.logger.error(f"{self.topic}: {what}", throttle_duration_sec=5.0)

    def _show(self, frame: Frame, answer: Answer, message: AnswerMsg, activity: Activity) -> None:
        focus = self._pipeline.focus
        strength = focus.beta if "attention" in answer.focus_mode else 0.0
        shown: list[tuple[Any, Any]] = [(self._focuses, to_focus_msg(answer, message.header, strength))]
        if answer.focus is not None and self._maps.get_subscription_count():
            shown.append((self._maps, to_image(message.header, answer.focus.grid, "32FC1")))
        raw, jpeg = (topic.get_subscription_count() for topic in (self._overlays, self._overlay_jpegs))
        picture = overlay.render(frame.image, answer, focus) if raw or jpeg else None
        if picture is not None and raw:
            shown.append((self._overlays, to_image(message.header, picture[..., ::-1], "bgr8")))
        if picture is not None and jpeg:
            shown.append((self._overlay_jpegs, to_compressed(message.header, picture)))
        for publisher, told in shown:
            activity.publish(lambda publisher=publisher, told=told: self.publish(publisher, told))  # type: ignore[misc]

    def _serve(self, pending: PendingAsk, activity: Activity) -> None:
        """Answers a question of `ask` about the newest frame, whose vision the engine still has if it was answered."""
        shot = self._newest
        if shot is None:
            pending.failed(Ask.Result.ERROR_NO_FRAME, f"no frame has come yet on {self.topic}")
            return

        def stop() -> bool:
            activity.pulse.beat()
            return pending.stopped()

        try:
            answer = self._pipeline.ask(pending.question, shot.frame, pending.on_token, stop)
            frame_age = time.monotonic() - shot.received
            pending.answered(to_answer_msg(answer, shot.message.header, self._pipeline.engine.name, frame_age))
        except Exception as error:
            pending.failed(Ask.Result.ERROR_ENGINE, f"the model failed on this frame: {error}")

    # -- what people see ---------------------------------------------------------------------------------------------

    def _measure(self) -> tuple[MetricsMsg, Mapping[str, str], Health]:
        now, counters, pipeline = time.monotonic(), self._counters, self._pipeline
        asked, refused = self._asked_before
        metrics = counters.metrics(now)
        context = self._node.resolve_topic_name(f"{self.prefix}context")
        bridges = [full_name(info) for info in self._node.get_publishers_info_by_topic(context)]
        metrics.regions_dropped = pipeline.regions_dropped
        metrics.asked, metrics.asks_refused = self._asking.answered - asked, self._asking.refused - refused
        health = counters.health(self.input.rate if self.input else 0.0, metrics.answer_rate, pipeline.left_out)
        if health[0] == DiagnosticStatus.OK:
            health = several_bridges(context, bridges) or health
        return metrics, counters.values(metrics, pipeline.engine.name, pipeline.left_out, self._hangs, now), health

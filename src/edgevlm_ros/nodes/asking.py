# SPDX-License-Identifier: Apache-2.0
"""The action `ask`: one question about the newest frame of a camera, beside the standing one.

The node has one thread that spins and one that infers, and neither may wait for the other. So a goal is only put into a
queue when it comes; the inference thread takes it between two frames; and whatever ends it first (an answer, the cloud,
a deadline, a cancel, the node's deactivation) leaves a result and has the spinning thread hand it over. A goal that
cannot be served is accepted and aborted, since a rejected one could not say why.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from edgevlm_msgs.action import Ask
from edgevlm_msgs.msg import Answer as AnswerMsg
from edgevlm_msgs.msg import CloudContext as CloudContextMsg
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.camera import checked_question
from edgevlm_ros.nodes.conversions import to_nanoseconds
from edgevlm_ros.nodes.parameters import ParameterError
from edgevlm_ros.transfer.types import Question, Source, Status
from edgevlm_ros.words import clean_text, plain, without_thoughts

_FEEDBACK_PERIOD_S = 0.05  # a robot's network need not carry every token on its own
_LONGEST_DEADLINE_S = 600.0
_RESULT_KEPT_S = 60  # for a client that asks for it late
_LAST_WORDS_S = 0.2  # that a result takes from its end to its client
_MAX_CHARS = 4000


class PendingAsk:
    """One goal, from its acceptance to its end. The methods are for the inference thread."""

    def __init__(self, asking: "Asking", handle: Any, deadline: float) -> None:
        self.question = Question(handle.request.question.strip())
        self._asking = asking
        self.handle = handle
        self.for_cloud = bool(handle.request.wait_for_cloud)
        self.deadline = deadline
        self.timer: Any = None
        self.late = False  # the deadline is over
        self.edge: AnswerMsg | None = None
        self.result: Ask.Result | None = None
        self._said = ""
        self._told = -math.inf

    @property
    def stamp(self) -> int:
        """Nanoseconds, of the frame that the edge model's answer is about."""
        assert self.edge is not None
        return to_nanoseconds(self.edge.header.stamp)

    def on_token(self, piece: str) -> None:
        """Streams the answer so far, not more often than is of use."""
        self._said += piece
        now = time.monotonic()
        if now - self._told >= _FEEDBACK_PERIOD_S:
            self._told = now
            self._tell(plain(without_thoughts(self._said)[0]))

    def stopped(self) -> bool:
        """Whether nobody waits for the answer any more: canceled, or the node is quiet."""
        return self.result is not None

    def answered(self, message: AnswerMsg) -> None:
        """Takes the edge model's answer about the newest frame."""
        if self.for_cloud:  # which may take a while
            self._tell(message.text)
        self._asking.on_edge_answer(self, message)

    def failed(self, code: int, text: str) -> None:
        """There is no answer. code: of Ask.Result. text: for people."""
        self._asking.conclude(self, Ask.Result(error_code=code, error_msg=text))

    def _tell(self, text: str) -> None:
        if not self.stopped():
            with suppress(RuntimeError):  # feedback that is lost with ROS is no reason to lose an answer
                self.handle.publish_feedback(Ask.Feedback(text=text))


class Asking:
    """One camera's `ask`; out also `question/once`, by which the cloud is asked.

    First come, first served: a goal that waits is passed by none, and no more than `waiting` wait. prefix: empty, or
    the camera's name and a slash. deadline: seconds to wait for the cloud, for goals that do not say. ready: whether a
    goal can be served, as an error code of Ask.Result. wake: tells the inference thread that there is a goal to take.
    """

    def __init__(
        self,
        node: LifecycleNode,
        prefix: str,
        waiting: int,
        deadline: float,
        ready: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        self.answered = self.refused = 0
        self._node = node
        self._waiting, self._deadline = waiting, deadline
        self._ready, self._wake = ready, wake
        self._why = {
            Ask.Result.ERROR_INACTIVE: "the node is not active: activate it first",
            Ask.Result.ERROR_NO_FRAME: f"no frame has come yet on {node.resolve_topic_name(prefix + 'image')}",
        }
        self._lock = threading.Lock()  # of the queue, and of what ends a goal
        self._queue: deque[PendingAsk] = deque()
        self._goals: dict[bytes, PendingAsk] = {}  # until they are handed over; of the thread that spins
        self._handed_over = -math.inf
        self._questions = node.create_publisher(QuestionMsg, prefix + "question/once", qos.EVENTS)
        self._server: Any = ActionServer(
            node,
            Ask,
            prefix + "ask",
            self._hand_over,
            handle_accepted_callback=self._on_goal,
            cancel_callback=self._on_cancel,
            goal_service_qos_profile=qos.REQUESTS,
            result_service_qos_profile=qos.REQUESTS,
            cancel_service_qos_profile=qos.REQUESTS,
            result_timeout=_RESULT_KEPT_S,
        )

    # -- for the camera's node ---------------------------------------------------------------------------------------

    def take(self) -> PendingAsk | None:
        """The next goal to answer, if one waits. On the inference thread."""
        with self._lock:
            return self._queue.popleft() if self._queue else None

    def on_context(self, message: CloudContextMsg) -> None:
        """Takes what came of any keyframe of the camera. On the thread that spins.

        The bridge's newest image may be older or newer than the frame that the edge model answered: a reply to a goal's
        own request is the goal's, whatever the keyframe; another one is where its keyframe is no older than that frame.
        """
        stamp, request = to_nanoseconds(message.header.stamp), to_nanoseconds(message.request_stamp)
        asked = [goal for goal in self._goals.values() if goal.edge is not None and not goal.stopped()]
        asked = [goal for goal in asked if goal.question.id == message.question_id]
        if message.status == CloudContextMsg.STATUS_OK:
            for goal in (goal for goal in asked if goal.stamp == request or goal.stamp <= stamp):
                self.conclude(goal, Ask.Result(answer=cloud_answer(goal.question, message)))
        else:
            for goal in [goal for goal in asked if goal.stamp == request][:1]:  # each request fails for one goal
                self._settle(goal, f"the cloud said: {_failure(message)}")

    def end(self) -> None:
        """Ends what waits, since the node goes quiet. On the thread that spins. May be called again."""
        for goal in list(self._goals.values()):
            self._cancel(goal, "the node was deactivated")

    def close(self) -> None:
        """Ends what waits, and the action with it. May be called again."""
        self.end()
        server, self._server = self._server, None
        if server is None:
            return
        self._node.destroy_publisher(self._questions)
        if self._told():
            server.destroy()
            return

        def destroy() -> None:
            if self._told():
                self._node.destroy_timer(timer)
                server.destroy()

        timer = self._timer(_LAST_WORDS_S, destroy)  # else a client would wait for its result for ever

    def _told(self) -> bool:
        """Whether every goal's result is with its client."""
        return not self._goals and time.monotonic() - self._handed_over >= _LAST_WORDS_S

    # -- for a goal --------------------------------------------------------------------------------------------------

    def on_edge_answer(self, goal: PendingAsk, message: AnswerMsg) -> None:
        """The answer, or what is there if the cloud has none in time. On the inference thread."""
        with self._lock:
            goal.edge = message
        if not goal.for_cloud:
            self._settle(goal, "")
        elif goal.late:
            self._settle(goal, _too_late(goal))
        elif goal.stopped():
            return
        elif not self._questions.get_subscription_count():
            self._settle(goal, f"nobody listens on {self._questions.topic_name}: is the cloud bridge active?")
        else:
            self._questions.publish(
                QuestionMsg(header=message.header, question_id=goal.question.id, text=goal.question.text)
            )

    def conclude(self, goal: PendingAsk, result: Ask.Result) -> None:
        """Ends a goal, unless it has ended. Any thread."""
        with self._lock:
            if goal.result is not None:
                return
            goal.result = result
            if goal in self._queue:
                self._queue.remove(goal)
            answered = result.error_code == Ask.Result.ERROR_NONE
            self.answered += answered
            self.refused += not answered
        executor = self._node.executor
        if executor is not None:
            with suppress(Exception):  # it is shut down, and so nobody can be told
                # a task wakes the executor in every distribution; completing what a coroutine awaits does not
                executor.create_task(goal.handle.execute)

    def _settle(self, goal: PendingAsk, why: str) -> None:
        """Ends a goal with the edge model's answer. why: it is not the cloud's."""
        assert goal.edge is not None
        self.conclude(goal, Ask.Result(error_msg=why, answer=goal.edge))

    def _cancel(self, goal: PendingAsk, why: str) -> None:
        self.conclude(
            goal,
            Ask.Result(error_code=Ask.Result.ERROR_CANCELED, error_msg=why, answer=goal.edge or AnswerMsg()),
        )

    # -- on the thread that spins ------------------------------------------------------------------------------------

    def _on_goal(self, handle: Any) -> None:
        goal = PendingAsk(self, handle, _seconds(handle.request.deadline, self._deadline))
        self._goals[_key(handle)] = goal
        try:
            checked_question(handle.request.question)
        except ParameterError as error:
            goal.failed(Ask.Result.ERROR_BAD_QUESTION, str(error))
            return
        code = Ask.Result.ERROR_INACTIVE if self._server is None else self._ready()
        if code != Ask.Result.ERROR_NONE:
            goal.failed(code, self._why.get(code, ""))
            return
        if goal.for_cloud:
            goal.timer = self._timer(goal.deadline, partial(self._on_deadline, goal))
        with self._lock:
            fits = len(self._queue) < self._waiting
            if fits:
                self._queue.append(goal)
        if fits:
            self._wake()
        else:
            why = f"ask.queue = {self._waiting} questions wait already: ask again when they are answered"
            goal.failed(Ask.Result.ERROR_BUSY, why)

    def _on_cancel(self, handle: Any) -> CancelResponse:
        goal = self._goals.get(_key(handle))
        if goal is None or goal.stopped():
            return CancelResponse.REJECT
        self._cancel(goal, "canceled by the client")
        return CancelResponse.ACCEPT

    def _on_deadline(self, goal: PendingAsk) -> None:
        goal.timer.cancel()
        with self._lock:
            goal.late = True
        if goal.edge is not None:
            self._settle(goal, _too_late(goal))

    def _hand_over(self, handle: Any) -> Ask.Result:
        """A goal's callback, which only comes once it has ended."""
        goal = self._goals.pop(_key(handle))
        self._handed_over = time.monotonic()
        if goal.timer is not None:
            self._node.destroy_timer(goal.timer)
        assert goal.result is not None
        if goal.result.error_code == Ask.Result.ERROR_NONE:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return goal.result

    def _timer(self, seconds: float, callback: Callable[[], None]) -> Any:
        return self._node.create_timer(seconds, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


def cloud_answer(question: Question, context: CloudContextMsg) -> AnswerMsg:
    """What the cloud said as an answer of its own, about its keyframe."""
    return AnswerMsg(
        header=context.header,
        question_id=question.id,
        question=question.text,
        text=clean_text(context.text, _MAX_CHARS),
        confidence=math.nan,
        source=int(Source.CLOUD),
        model=context.model,
        frame_age=context.delay,
        context_used=True,
        context_stamp=context.header.stamp,
        focus_mode="none",
    )


def _too_late(goal: PendingAsk) -> str:
    return f"no cloud answer within {goal.deadline:g} s"


def _failure(context: CloudContextMsg) -> str:
    """What became of a keyframe, for people."""
    names = {int(status): status.name for status in Status}
    return f"{names.get(context.status, f'status {context.status}')}: {clean_text(context.error_msg, 300)}"


def _seconds(asked: float, otherwise: float) -> float:
    """The deadline of a goal: what it asks for, if that is a time to wait."""
    return min(asked, _LONGEST_DEADLINE_S) if asked > 0.0 else otherwise


def _key(handle: Any) -> bytes:
    return bytes(handle.goal_id.uuid)

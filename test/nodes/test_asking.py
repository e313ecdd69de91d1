# SPDX-License-Identifier: Apache-2.0
"""The action `ask` over DDS: real goals, feedback and results, with a script in the place of the model."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.action import ActionClient
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from edgevlm_msgs.action import Ask
from edgevlm_msgs.msg import Answer, CloudContext, Question
from edgevlm_ros.images import to_image
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.asking import Asking, PendingAsk
from edgevlm_ros.transfer.types import Question as Asked
from support.scripted_cloud import ScriptedCloud

QUESTION = "Who is there?"
PICTURE = np.random.default_rng(5).integers(0, 255, (120, 160, 3), dtype=np.uint8)
Result = Ask.Result
Script = Callable[[PendingAsk], None]


def frame(seconds: int) -> Header:
    return Header(frame_id="camera", stamp=Time(sec=seconds))


def say(text: str, seconds: int = 5) -> Script:
    """The edge model's whole answer about a frame."""
    return lambda ask: ask.answered(Answer(header=frame(seconds), question=ask.question.text, text=text, model="small"))


class Client:
    """Asks one question after the other, and keeps what comes of each."""

    def __init__(self, ros: Any, name: str = "client", topic: str = "ask") -> None:
        self.ros = ros
        self._client = ActionClient(ros.node(name), Ask, topic)
        assert ros.spin_until(lambda: self.is_served)

    @property
    def is_served(self) -> bool:
        return bool(self._client.server_is_ready())

    def ask(self, question: str = QUESTION, **goal: object) -> Goal:
        return Goal(self.ros, self._client, Ask.Goal(question=question, **goal))


class Goal:
    def __init__(self, ros: Any, client: Any, goal: Ask.Goal) -> None:
        self.ros = ros
        self.feedback: list[str] = []
        self.outcome: Any = None
        client.send_goal_async(goal, self._on_feedback).add_done_callback(self._on_accepted)
        assert ros.spin_until(lambda: hasattr(self, "handle"))

    def _on_feedback(self, message: Any) -> None:
        self.feedback.append(message.feedback.text)

    def _on_accepted(self, future: Any) -> None:
        self.handle = future.result()
        assert self.handle.accepted
        self.handle.get_result_async().add_done_callback(self._on_result)

    def _on_result(self, future: Any) -> None:
        self.outcome = future.result()

    def cancel(self) -> None:
        self.handle.cancel_goal_async()

    def result(self) -> Result:
        assert self.ros.spin_until(lambda: self.outcome), "no result"
        return self.outcome.result

    @property
    def status(self) -> int:
        return int(self.outcome.status)


class Robot:
    """A node with the action, and a thread that answers what it takes by the next script."""

    def __init__(self, ros: Any, *, prefix: str = "", waiting: int = 4, deadline: float = 60.0) -> None:
        self.ros = ros
        self.code = int(Result.ERROR_NONE)
        self.node = ros.add(LifecycleNode("edge", context=ros.context))
        self._events: queue.Queue[Script | None] = queue.Queue()
        self.taken: queue.Queue[PendingAsk] = queue.Queue()
        self._woken = threading.Event()
        self._over = False
        self.asking = Asking(self.node, prefix, waiting, deadline, lambda: self.code, self._woken.set)
        self._thread = threading.Thread(target=self._infer, daemon=True)
        self._thread.start()

    def answer(self, script: Script) -> None:
        """Lets the inference thread take the next goal and do this with it."""
        self._events.put(script)

    def _infer(self) -> None:
        while (script := self._events.get()) is not None:
            while (ask := self.asking.take()) is None:
                if self._over:  # a goal that was canceled before it was taken leaves its script waiting
                    return
                self._woken.wait()
                self._woken.clear()
            self.taken.put(ask)
            script(ask)

    def stop(self) -> None:
        self._over = True
        self._events.put(None)
        self._woken.set()
        self._thread.join()
        self.asking.close()


class Cloud:
    """A bridge by hand: what is asked, and what is replied."""

    def __init__(self, robot: Robot) -> None:
        self.asked: list[Question] = []
        self.node = robot.ros.node("bridge")
        self.node.create_subscription(Question, "question/once", self.asked.append, qos.EVENTS)
        self.contexts = self.node.create_publisher(CloudContext, "context", qos.EVENTS)
        robot.node.create_subscription(CloudContext, "context", robot.asking.on_context, qos.EVENTS)
        assert robot.ros.spin_until(
            lambda: self.contexts.get_subscription_count() and robot.node.count_subscribers("question/once")
        )

    def reply(
        self, text: str = "acid, left", seconds: int = 6, question: str = QUESTION, request: int = 0, **fields: Any
    ) -> None:
        """request: seconds of the question's header that it answers; 0 for a keyframe by the schedule."""
        self.contexts.publish(
            CloudContext(
                header=frame(seconds),
                request_stamp=Time(sec=request),
                question_id=Asked(question).id,
                question=question,
                text=text,
                model="large",
                delay=1.5,
                **fields,
            )
        )


@pytest.fixture
def robot(ros: Any) -> Iterator[Robot]:
    robot = Robot(ros)
    yield robot
    robot.stop()


@pytest.fixture
def client(ros: Any, robot: Robot) -> Client:
    return Client(ros)


# -- answers ---------------------------------------------------------------------------------------------------------


def test_the_answer_streams_and_comes(robot: Robot, client: Client) -> None:
    seen = threading.Event()

    def stream(ask: PendingAsk) -> None:
        ask.on_token("two ")
        seen.wait()
        ask.on_token("carts")
        say("two carts")(ask)

    robot.answer(stream)
    goal = client.ask(f" {QUESTION}\n")
    assert robot.ros.spin_until(lambda: goal.feedback)
    assert goal.feedback == ["two "]
    seen.set()
    result = goal.result()
    assert goal.status == GoalStatus.STATUS_SUCCEEDED
    assert (result.error_code, result.error_msg) == (Result.ERROR_NONE, "")
    assert (result.answer.text, result.answer.question, result.answer.model) == ("two carts", QUESTION, "small")
    assert result.answer.source == Answer.SOURCE_EDGE
    assert (robot.asking.answered, robot.asking.refused) == (1, 0)


def test_no_answer_so_far_commands_a_terminal(robot: Robot, client: Client) -> None:
    seen = threading.Event()

    def stream(ask: PendingAsk) -> None:
        ask.on_token("\x1b[2Jtwo\ud800 ")
        seen.wait()
        say("two")(ask)

    robot.answer(stream)
    goal = client.ask()
    assert robot.ros.spin_until(lambda: goal.feedback)
    assert goal.feedback == [" [2Jtwo "]
    seen.set()
    assert goal.result().answer.text == "two"


def test_no_answer_so_far_holds_a_thought(robot: Robot, client: Client) -> None:
    def stream(ask: PendingAsk) -> None:
        ask.on_token("Okay, the user wants</think>Yes")
        say("Yes")(ask)

    robot.answer(stream)
    goal = client.ask()
    goal.result()
    assert robot.ros.spin_until(lambda: goal.feedback)
    assert goal.feedback == ["Yes"]


def test_feedback_is_the_answer_so_far_and_not_every_token(robot: Robot, client: Client) -> None:
    def stream(ask: PendingAsk) -> None:
        for _ in range(1000):
            ask.on_token("a")
        say("a" * 1000)(ask)

    robot.answer(stream)
    goal = client.ask()
    goal.result()
    assert robot.ros.spin_until(lambda: goal.feedback), "which another topic brings than the result"
    assert len(goal.feedback) < 500
    assert all(set(text) == {"a"} for text in goal.feedback)
    assert goal.feedback == sorted(goal.feedback, key=len)


def test_goals_are_answered_in_the_order_in_which_they_came(ros: Any, robot: Robot) -> None:
    one, other = Client(ros, "one"), Client(ros, "other")
    goals = [client.ask(f"{number}?") for number, client in enumerate((one, other, one, other))]
    for _ in goals:
        robot.answer(lambda ask: say(f"to {ask.question.text}")(ask))
    assert [goal.result().answer.text for goal in goals] == ["to 0?", "to 1?", "to 2?", "to 3?"]
    assert [robot.taken.get().question.text for _ in goals] == ["0?", "1?", "2?", "3?"]


def test_a_camera_s_action_is_below_its_name(ros: Any) -> None:
    robot = Robot(ros, prefix="front/")
    client = Client(ros, topic="front/ask")
    robot.answer(say("a cart"))
    assert client.ask().result().answer.text == "a cart"
    robot.stop()


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [(Result.ERROR_INACTIVE, "activate it"), (Result.ERROR_NO_FRAME, "no frame has come yet on /image")],
    ids=["inactive", "no frame"],
)
def test_a_goal_that_cannot_be_served_is_told_why(robot: Robot, client: Client, code: int, words: str) -> None:
    robot.code = int(code)
    goal = client.ask()
    result = goal.result()
    assert goal.status == GoalStatus.STATUS_ABORTED
    assert result.error_code == code
    assert words in result.error_msg
    assert (robot.asking.answered, robot.asking.refused) == (0, 1)


@pytest.mark.parametrize("question", ["", " \n", "why " * 25_000], ids=["empty", "blank", "100 kB"])
def test_what_is_no_question_is_not_asked(robot: Robot, client: Client, question: str) -> None:
    result = client.ask(question).result()
    assert result.error_code == Result.ERROR_BAD_QUESTION
    assert "1 to 2000 characters" in result.error_msg
    assert robot.asking.take() is None


def test_who_comes_when_enough_are_waiting_is_refused_and_the_others_are_served(ros: Any) -> None:
    robot = Robot(ros, waiting=2)
    client = Client(ros)
    goals = [client.ask(f"{number}?") for number in range(3)]
    refused = goals[2].result()
    assert refused.error_code == Result.ERROR_BUSY
    assert "ask.queue = 2" in refused.error_msg
    robot.answer(say("yes"))
    robot.answer(say("yes"))
    assert [goal.result().answer.text for goal in goals[:2]] == ["yes", "yes"]
    robot.answer(say("now"))
    assert client.ask().result().answer.text == "now"
    robot.stop()


def test_every_one_of_many_goals_at_once_has_a_result(ros: Any) -> None:
    robot = Robot(ros, waiting=3)
    client = ActionClient(ros.node("client"), Ask, "ask")
    assert ros.spin_until(client.server_is_ready)
    accepted = [client.send_goal_async(Ask.Goal(question=f"{number}?")) for number in range(100)]
    assert ros.spin_until(lambda: all(future.done() for future in accepted))
    results = [future.result().get_result_async() for future in accepted]
    for _ in range(3):
        robot.answer(say("yes"))
    assert ros.spin_until(lambda: all(future.done() for future in results))
    codes = [future.result().result.error_code for future in results]
    assert (codes.count(Result.ERROR_NONE), codes.count(Result.ERROR_BUSY)) == (3, 97)
    robot.stop()


def test_a_model_that_fails_is_told_with_its_words(robot: Robot, client: Client) -> None:
    robot.answer(lambda ask: ask.failed(Result.ERROR_ENGINE, "out of memory"))
    goal = client.ask()
    result = goal.result()
    assert (result.error_code, result.error_msg) == (Result.ERROR_ENGINE, "out of memory")
    assert goal.status == GoalStatus.STATUS_ABORTED


# -- cancels ---------------------------------------------------------------------------------------------------------


def test_a_goal_that_waits_is_canceled_at_once_and_never_taken(robot: Robot, client: Client) -> None:
    goal, after = client.ask("0?"), client.ask("1?")
    goal.cancel()
    assert goal.result().error_code == Result.ERROR_CANCELED
    assert goal.status == GoalStatus.STATUS_CANCELED
    robot.answer(say("yes"))
    assert after.result().answer.text == "yes"
    assert robot.taken.get().question.text == "1?"


def test_a_cancel_stops_the_model_at_its_next_token(robot: Robot, client: Client) -> None:
    told = threading.Event()

    def stream(ask: PendingAsk) -> None:
        while not ask.stopped():
            ask.on_token("on and ")
        say("on and on")(ask)
        told.set()

    robot.answer(stream)
    goal = client.ask()
    assert robot.ros.spin_until(lambda: goal.feedback)
    goal.cancel()
    assert goal.result().error_code == Result.ERROR_CANCELED
    assert goal.status == GoalStatus.STATUS_CANCELED
    assert told.wait(30.0)
    assert (robot.asking.answered, robot.asking.refused) == (0, 1)


def test_what_waits_and_what_is_being_answered_ends_when_the_node_goes_quiet(robot: Robot, client: Client) -> None:
    quiet = threading.Event()

    def stream(ask: PendingAsk) -> None:
        ask.on_token("on")
        quiet.wait()
        assert ask.stopped()

    robot.answer(stream)
    goals = [client.ask(), client.ask("1?")]
    assert robot.ros.spin_until(lambda: goals[0].feedback)
    robot.asking.end()
    quiet.set()
    for goal in goals:
        result = goal.result()
        assert (result.error_code, result.error_msg) == (Result.ERROR_CANCELED, "the node was deactivated")
        assert goal.status == GoalStatus.STATUS_ABORTED
    assert robot.asking.take() is None


def test_what_waits_when_the_action_ends_is_still_told(robot: Robot, client: Client) -> None:
    goal = client.ask()
    robot.asking.close()
    assert goal.result().error_code == Result.ERROR_CANCELED
    assert robot.ros.spin_until(lambda: not client.is_served)
    robot.asking.close()


def test_an_action_that_ends_when_nobody_spins_any_more_ends_quietly(robot: Robot, client: Client) -> None:
    client.ask(wait_for_cloud=True)
    robot.ros.executor.shutdown()
    robot.asking.close()
    robot.node.destroy_node()


def test_nothing_of_a_goal_is_kept_but_for_a_client_that_is_late(robot: Robot, client: Client) -> None:
    for number in range(20):
        robot.answer(say("yes"))
        goal = client.ask(f"{number}?", wait_for_cloud=bool(number % 2))
        if number % 4 == 3:
            goal.cancel()
        goal.result()
    assert robot.asking._goals == {}
    assert list(robot.node.timers) == []


# -- the cloud -------------------------------------------------------------------------------------------------------


def test_the_cloud_s_answer_comes_with_its_provenance(robot: Robot, client: Client) -> None:
    cloud = Cloud(robot)
    robot.answer(say("gas, left", seconds=5))
    goal = client.ask(wait_for_cloud=True)
    assert robot.ros.spin_until(lambda: cloud.asked)
    assert (cloud.asked[0].text, cloud.asked[0].question_id) == (QUESTION, Asked(QUESTION).id)
    assert cloud.asked[0].header == frame(5)
    cloud.reply("acid, left", seconds=6)
    result = goal.result()
    answer = result.answer
    assert (result.error_code, result.error_msg) == (Result.ERROR_NONE, "")
    assert (answer.text, answer.source, answer.model) == ("acid, left", Answer.SOURCE_CLOUD, "large")
    assert (answer.header, answer.context_stamp) == (frame(6), Time(sec=6))
    assert (answer.question, answer.question_id) == (QUESTION, Asked(QUESTION).id)
    assert math.isnan(answer.confidence)
    assert robot.ros.spin_until(lambda: goal.feedback)
    assert goal.feedback[-1] == "gas, left"


def test_replies_to_another_question_or_about_an_older_frame_are_not_taken(robot: Robot, client: Client) -> None:
    cloud = Cloud(robot)
    robot.answer(say("gas, left", seconds=5))
    goal = client.ask(wait_for_cloud=True)
    assert robot.ros.spin_until(lambda: cloud.asked)
    cloud.reply("the standing question's", question="Where is the cart?")
    cloud.reply("an older frame's", seconds=4)
    cloud.reply("the same frame's", seconds=5)
    assert goal.result().answer.text == "the same frame's"


def test_the_reply_to_its_request_is_taken_where_the_bridge_s_image_is_older(robot: Robot, client: Client) -> None:
    cloud = Cloud(robot)
    robot.answer(say("gas, left", seconds=5))
    goal = client.ask(wait_for_cloud=True)
    assert robot.ros.spin_until(lambda: cloud.asked)
    cloud.reply("another request's", seconds=4, request=3)
    cloud.reply("acid, left", seconds=4, request=5)
    assert goal.result().answer.text == "acid, left"
    assert goal.outcome.result.answer.header == frame(4)


def test_a_failure_of_the_cloud_is_told_with_the_edge_s_answer(robot: Robot, client: Client) -> None:
    cloud = Cloud(robot)
    robot.answer(say("gas, left"))
    goal = client.ask(wait_for_cloud=True)
    assert robot.ros.spin_until(lambda: cloud.asked)
    cloud.reply("", status=CloudContext.STATUS_TIMEOUT, error_msg="another keyframe's")
    cloud.reply("", seconds=4, request=5, status=CloudContext.STATUS_REJECTED, error_msg="HTTP 401")
    result = goal.result()
    assert goal.status == GoalStatus.STATUS_SUCCEEDED
    assert (result.answer.text, result.answer.source) == ("gas, left", Answer.SOURCE_EDGE)
    assert result.error_msg == "the cloud said: REJECTED: HTTP 401"


def test_a_failure_ends_one_of_two_goals_and_a_reply_both(robot: Robot, client: Client) -> None:
    cloud = Cloud(robot)
    goals = []
    for seconds in (1, 5, 6):
        robot.answer(say("gas, left", seconds=seconds))
        goals.append(client.ask(wait_for_cloud=True))
        assert robot.ros.spin_until(lambda: len(cloud.asked) == len(goals))
    cloud.reply("", seconds=8, request=1, status=CloudContext.STATUS_TIMEOUT, error_msg="too slow")
    assert "too slow" in goals[0].result().error_msg
    assert [goal.outcome for goal in goals[1:]] == [None, None]
    cloud.reply("acid, left", seconds=6)
    assert [goal.result().answer.text for goal in goals[1:]] == ["acid, left", "acid, left"]


def test_a_cloud_that_is_late_is_not_waited_for(robot: Robot, client: Client) -> None:
    cloud = Cloud(robot)
    robot.answer(say("gas, left"))
    goal = client.ask(wait_for_cloud=True, deadline=0.25)
    result = goal.result()
    assert (result.answer.text, result.error_msg) == ("gas, left", "no cloud answer within 0.25 s")
    cloud.reply("acid, left")
    robot.answer(say("gas, left"))
    assert client.ask().result().answer.text == "gas, left"


@pytest.mark.parametrize("deadline", [0.0, -1.0, math.nan], ids=["none", "negative", "NaN"])
def test_a_goal_without_a_deadline_takes_the_node_s(ros: Any, deadline: float) -> None:
    robot = Robot(ros, deadline=0.25)
    client = Client(ros)
    Cloud(robot)
    robot.answer(say("gas, left"))
    assert "within 0.25 s" in client.ask(wait_for_cloud=True, deadline=deadline).result().error_msg
    robot.stop()


def test_an_answer_that_takes_longer_than_the_deadline_is_not_sent_to_the_cloud(robot: Robot, client: Client) -> None:
    cloud = Cloud(robot)
    late = threading.Event()

    def wait(ask: PendingAsk) -> None:
        late.wait()
        say("gas, left")(ask)

    robot.answer(wait)
    goal = client.ask(wait_for_cloud=True, deadline=0.05)
    assert robot.ros.spin_until(lambda: robot.asking._goals and all(g.late for g in robot.asking._goals.values()))
    late.set()
    assert goal.result().answer.text == "gas, left"
    assert "no cloud answer within 0.05 s" in goal.result().error_msg
    assert cloud.asked == []


def test_without_a_bridge_nobody_is_waited_for(robot: Robot, client: Client) -> None:
    robot.answer(say("gas, left"))
    result = client.ask(wait_for_cloud=True, deadline=600.0).result()
    assert (result.error_code, result.answer.text) == (Result.ERROR_NONE, "gas, left")
    assert "nobody listens on /question/once" in result.error_msg


def test_a_cancel_does_not_wait_for_the_cloud(robot: Robot, client: Client) -> None:
    cloud = Cloud(robot)
    robot.answer(say("gas, left"))
    goal = client.ask(wait_for_cloud=True, deadline=3e38)
    assert robot.ros.spin_until(lambda: cloud.asked)
    goal.cancel()
    result = goal.result()
    assert goal.status == GoalStatus.STATUS_CANCELED
    assert (result.error_code, result.answer.text) == (Result.ERROR_CANCELED, "gas, left")


# -- with the real nodes ---------------------------------------------------------------------------------------------


def test_an_edge_node_and_its_bridge_answer_beside_the_standing_question(ros: Any, tiny_model: Path) -> None:
    node = ros.node("camera")
    answers: list[Answer] = []
    node.create_subscription(Answer, "answer", answers.append, qos.EVENTS)
    camera = node.create_publisher(Image, "image", qos.EVENTS)

    def film() -> None:
        camera.publish(to_image(Header(stamp=node.get_clock().now().to_msg()), PICTURE, "rgb8"))

    node.create_timer(0.1, film)
    with ScriptedCloud() as server:
        settings = {"model": tiny_model, "question": "Where is the cart?", "threads": 1, "max_new_tokens": 6}
        edge = ros.run_node("edge_node", **settings)
        client = Client(ros)
        assert ros.spin_until(lambda: answers), edge.output
        goal = client.ask()
        result = goal.result()
        assert (result.error_code, result.error_msg) == (Result.ERROR_NONE, ""), edge.output
        assert (result.answer.question, result.answer.source) == (QUESTION, Answer.SOURCE_EDGE)
        assert result.answer.header.stamp.sec > 0
        bridge = ros.run_node("cloud_bridge_node", base_url=server.base_url, keyframe_period=600.0)
        assert ros.spin_until(lambda: node.count_subscribers("question/once")), bridge.output
        for _ in range(60):  # the edge node may meet the bridge later than the test does
            result = client.ask(wait_for_cloud=True, deadline=60.0).result()
            if result.answer.source == Answer.SOURCE_CLOUD:
                break
            before = len(answers)
            assert ros.spin_until(lambda before=before: len(answers) >= before + 10), edge.output
        assert (result.answer.text, result.answer.model) == ("acid, left", "scripted-lvlm"), result.error_msg
        assert result.answer.context_stamp == result.answer.header.stamp
        seen = len(answers)
        assert ros.spin_until(lambda: len(answers) > seen + 3), edge.output
        assert {answer.question for answer in answers} == {"Where is the cart?"}
        transitions = node.create_client(ChangeState, "edge_node/change_state")
        assert ros.spin_until(transitions.service_is_ready)
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
        assert ros.spin_until(transitions.call_async(request).done), edge.output
        assert client.ask().result().error_code == Result.ERROR_INACTIVE
    assert edge.interrupt() == bridge.interrupt() == 0
    assert "Traceback" not in edge.output + bridge.output

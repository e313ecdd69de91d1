# SPDX-License-Identifier: Apache-2.0
"""One camera of the edge node: what odd frames, odd questions and silence do, and what people are told."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.action import ActionClient
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from edgevlm_msgs.action import Ask
from edgevlm_msgs.msg import CloudContext, Question
from edgevlm_ros import overlay
from edgevlm_ros.images import to_image, to_rgb
from edgevlm_ros.nodes import edge_camera, qos
from edgevlm_ros.transfer.types import Question as Asked
from support.edge_robot import PICTURE, QUESTION, EdgeRobot


@pytest.fixture
def robot(ros: Any, tiny_model: Path) -> EdgeRobot:
    return EdgeRobot(ros, tiny_model)


def test_pictures_that_nobody_looks_at_are_not_made(robot: EdgeRobot, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    render, convert = overlay.render, edge_camera.to_image
    monkeypatch.setattr(overlay, "render", lambda *args: made.append("overlay") or render(*args))
    monkeypatch.setattr(edge_camera, "to_image", lambda *args: made.append(args[-1]) or convert(*args))
    robot.side.see(1.0)
    robot.side.tell(1.0, "on the left")
    robot.until(lambda: robot.side.metrics and robot.side.metrics[-1].contexts_applied)
    assert any(robot.side.see(1.5 + step / 100).focus_mode == "crop" for step in range(40))
    assert made == []
    shown: list[Image] = []
    for topic in ("focus/overlay", "focus/map"):
        robot.node.create_subscription(Image, topic, shown.append, qos.EVENTS)
    robot.until(lambda: all(robot.edge.count_subscribers(topic) for topic in ("/focus/overlay", "/focus/map")))
    robot.until(lambda: robot.side.see(2.5) and {"bgr8", "32FC1"} <= {image.encoding for image in shown})
    assert set(made) == {"overlay", "bgr8", "32FC1"}


@pytest.mark.parametrize(
    ("sec", "nanosec", "frame_id"), [(0, 0, ""), (-5, 7, "x"), (2**31 - 1, 2**32 - 1, "camera"), (3, 0, "é" * 5000)]
)
def test_a_frame_with_an_odd_header_is_answered_under_it(
    robot: EdgeRobot, sec: int, nanosec: int, frame_id: str
) -> None:
    robot.side.see(1.0)
    robot.side.tell(1.0, "on the left")
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = sec, nanosec
    message = to_image(header, PICTURE, "rgb8")
    robot.until(lambda: robot.side.camera.publish(message) or robot.side.answers[-1].header == header)
    robot.side.tell(1.0, "on the left")
    assert robot.side.see(5.0).text


def bad_images() -> dict[str, Image]:
    """What no camera should send; the stamps before the epoch are those of a clock that was never set."""
    header = Header()
    header.stamp.sec, header.stamp.nanosec = -(2**31), 2**32 - 1
    found = {
        name: to_image(header, PICTURE, "rgb8")
        for name in ("width", "height", "step", "size", "huge", "depth", "name", "byte")
    }
    found["width"].width = 0
    found["height"].height = 0
    found["step"].step = 7
    found["size"].height, found["size"].width = 119, 161
    found["huge"].height = found["huge"].width = found["huge"].step = 2**32 - 1
    found["depth"].encoding = "16UC1"
    found["name"].encoding = "rgb8\n" * 1000
    found["byte"].data = found["byte"].data[:-1]
    return found


def test_bad_frames_of_every_kind_are_counted_and_the_next_good_one_is_answered(robot: EdgeRobot) -> None:
    (camera,) = robot.edge._cameras
    for second, (name, message) in enumerate(bad_images().items()):
        before = camera._counters.bad
        robot.until(lambda before=before, m=message: robot.side.camera.publish(m) or camera._counters.bad > before)
        assert robot.side.see(float(second)).text, name
    assert camera._counters.failures_in_a_row == 0


def test_a_camera_that_disappears_and_returns_is_answered_again(robot: EdgeRobot) -> None:
    robot.side.see(1.0)
    robot.node.destroy_publisher(robot.side.camera)
    robot.until(lambda: robot.edge.count_publishers("/image") == 0)
    robot.side.camera = robot.node.create_publisher(Image, "image", qos.EVENTS)
    robot.meet()
    assert robot.side.see(2.0).text


@pytest.mark.parametrize("text", ["", "  \n", "why? " * 20_000])
def test_a_question_that_is_none_is_refused_with_a_reason_and_changes_nothing(robot: EdgeRobot, text: str) -> None:
    response = robot.side.ask(text)
    assert not response.success
    assert "a question has 1 to 2000 characters" in response.message
    refused = robot.set("question", text)
    assert not refused.successful
    assert "question" in refused.reason
    publisher = robot.node.create_publisher(Question, "question", qos.LATCHED)
    robot.until(lambda: publisher.get_subscription_count() == 3)
    publisher.publish(Question(text=text))
    robot.until(lambda: robot.side.questions[-1].text == text)
    assert robot.side.see(1.0).question == QUESTION


def asked(robot: EdgeRobot, question: str) -> Ask.Result:
    client = ActionClient(robot.node, Ask, "ask")
    robot.until(client.server_is_ready)
    accepted = client.send_goal_async(Ask.Goal(question=question))
    robot.until(accepted.done)
    result = accepted.result().get_result_async()
    robot.until(result.done)
    client.destroy()
    return result.result().result


def test_a_question_of_ask_is_answered_about_the_newest_frame_without_seeing_it_again(robot: EdgeRobot) -> None:
    standing = robot.side.see(7.0)
    assert standing.vision_time > 0.0
    result = asked(robot, "what is ahead?")
    assert (result.error_code, result.error_msg) == (Ask.Result.ERROR_NONE, "")
    assert (result.answer.question, result.answer.header) == ("what is ahead?", standing.header)
    assert result.answer.vision_time == 0.0
    assert robot.side.see(8.0).question == QUESTION
    robot.until(lambda: robot.side.metrics and robot.side.metrics[-1].asked == 1)


def test_ask_needs_no_standing_question_but_a_frame(ros: Any, tiny_model: Path) -> None:
    robot = EdgeRobot(ros, tiny_model, question="")
    assert asked(robot, "what is it?").error_code == Ask.Result.ERROR_NO_FRAME
    robot.until(lambda: robot.side.film(3.0) or (robot.side.metrics and robot.side.metrics[-1].frames_seen))
    result = asked(robot, "what is it?")
    assert (result.error_code, result.answer.header.stamp.sec) == (Ask.Result.ERROR_NONE, 3)
    assert robot.side.answers == []
    robot.until(lambda: robot.side.metrics[-1].asks_refused == 1)


def test_changing_another_parameter_does_not_bring_back_the_question_of_the_start(robot: EdgeRobot) -> None:
    assert robot.side.ask("what is ahead?").success
    assert robot.set("focus.half_life", 2.0).successful
    assert robot.side.see(1.0).question == "what is ahead?"


def test_the_report_tells_rates_ages_memory_and_the_cloud(robot: EdgeRobot) -> None:
    side = robot.side
    side.see(time.time())
    robot.until(lambda: side.metrics and "nothing has come" in dict_of(robot.status()).get("cloud", ""))
    assert np.isnan(side.metrics[-1].context_age)
    second = time.time()
    side.see(second)
    side.tell(second, "on the left")
    robot.until(lambda: side.see(time.time()).context_used)

    def told() -> bool:
        side.see(time.time())
        newest = side.metrics[-1]
        return bool(newest.context_age >= 0.0 and newest.frame_rate > 0.0 and newest.answer_rate > 0.0)

    robot.until(told)
    metrics = side.metrics[-1]
    assert metrics.memory > 50e6
    assert 0.0 <= metrics.stamp_age < 60.0
    robot.until(lambda: dict_of(robot.status())["cloud"].startswith("OK"))


def dict_of(status: DiagnosticStatus | None) -> dict[str, str]:
    return {value.key: value.value for value in status.values} if status else {}


def test_frames_that_fail_in_a_row_are_an_error_until_one_is_answered(robot: EdgeRobot) -> None:
    def told(level: bytes, text: str) -> bool:
        status = robot.status()
        return status is not None and status.level == level and text in status.message

    def film(encoding: str, picture: Any) -> None:
        header = Header()
        header.stamp = robot.node.get_clock().now().to_msg()
        robot.side.camera.publish(to_image(header, picture, encoding))

    depth = np.zeros((4, 4), np.float32)
    robot.until(lambda: film("32FC1", depth) or told(DiagnosticStatus.ERROR, "32FC1 is a depth image"))
    robot.until(lambda: film("rgb8", PICTURE) or not told(DiagnosticStatus.ERROR, ""))
    assert robot.side.answers


@pytest.mark.parametrize(
    ("topic", "message", "profile"),
    [
        ("question", Question(text="how far?"), qos.LATCHED),
        ("question", Question(text="how far?"), qos.EVENTS),  # as `ros2 topic pub` does
        ("question/text", String(data="how far?"), qos.EVENTS),
    ],
)
def test_a_question_that_a_person_publishes_is_taken_once_and_latched(
    robot: EdgeRobot, topic: str, message: Any, profile: Any
) -> None:
    # a volatile publisher meets one of the node's two subscriptions, a latched one both, and the test's own
    heard_by = 3 if profile is qos.LATCHED else 1
    publisher = robot.node.create_publisher(type(message), topic, profile)
    robot.until(lambda: publisher.get_subscription_count() == heard_by)
    publisher.publish(message)
    robot.until(lambda: robot.side.see(3.0).question == "how far?")
    late: list[Question] = []
    robot.node.create_subscription(Question, "question", late.append, qos.LATCHED)
    filled = Asked("how far?").id
    robot.until(lambda: filled in [each.question_id for each in late])
    assert [each.question_id for each in robot.side.questions].count(filled) == 1


def test_the_overlay_comes_as_a_jpeg_too(robot: EdgeRobot) -> None:
    seen: list[CompressedImage] = []
    robot.node.create_subscription(CompressedImage, "focus/overlay/compressed", seen.append, qos.EVENTS)
    robot.until(lambda: robot.edge.count_subscribers("/focus/overlay/compressed"))
    robot.until(lambda: robot.side.see(1.0) and seen)
    assert (seen[-1].format, to_rgb(seen[-1]).shape[1]) == ("jpeg", 160)


def test_two_bridges_on_one_edge_are_told(robot: EdgeRobot) -> None:
    def told(text: str) -> bool:
        robot.side.film(time.time())
        status = robot.status()
        return status is not None and text in status.message

    other = robot.node.create_publisher(CloudContext, "context", qos.EVENTS)
    robot.until(lambda: told("2 publish /context (/test)"))
    robot.node.destroy_publisher(other)
    robot.until(lambda: told("answering"))


def test_images_are_decoded_beside_the_thread_that_spins(robot: EdgeRobot, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()
    decode = edge_camera.to_rgb
    monkeypatch.setattr(edge_camera, "to_rgb", lambda m: threads.add(threading.current_thread().name) or decode(m))
    robot.until(lambda: robot.side.film(time.time()) or {"inference", "observer_0"} <= threads)
    assert threads == {"inference", "observer_0"}

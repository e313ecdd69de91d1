# SPDX-License-Identifier: Apache-2.0
"""The edge node as its own process, over DDS, with a tiny random model behind it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter as ParameterMsg
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from edgevlm_msgs.msg import Answer, CloudContext, Focus, Metrics, Question, Region
from edgevlm_msgs.srv import SetQuestion
from edgevlm_ros.images import to_image, to_jpeg
from edgevlm_ros.nodes import qos
from edgevlm_ros.transfer.types import Question as Asked
from support.scripted_cloud import Reply, Request, ScriptedCloud

QUESTION = "where is the person?"
PICTURE = np.random.default_rng(5).integers(0, 255, (120, 160, 3), dtype=np.uint8)


class Robot:
    """A camera, a cloud and a listener around one edge node."""

    def __init__(self, ros: Any, model: Path | str, **parameters: object) -> None:
        self.ros = ros
        self.node = ros.node()
        self.answers: list[Answer] = []
        self.focuses: list[Focus] = []
        self.overlays: list[Image] = []
        self.maps: list[Image] = []
        self.metrics: list[Metrics] = []
        self.questions: list[Question] = []
        self.diagnostics: list[DiagnosticArray] = []
        self.node.create_subscription(Answer, "answer", self.answers.append, qos.EVENTS)
        self.node.create_subscription(Focus, "focus", self.focuses.append, qos.EVENTS)
        self.node.create_subscription(Image, "focus/overlay", self.overlays.append, qos.EVENTS)
        self.node.create_subscription(Image, "focus/map", self.maps.append, qos.EVENTS)
        self.node.create_subscription(Metrics, "metrics", self.metrics.append, qos.EVENTS)
        self.node.create_subscription(Question, "question", self.questions.append, qos.LATCHED)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, qos.EVENTS)
        self.camera = self.node.create_publisher(Image, "image", qos.EVENTS)
        self.jpegs = self.node.create_publisher(CompressedImage, "image/compressed", qos.EVENTS)
        self.cloud = self.node.create_publisher(CloudContext, "context", qos.EVENTS)
        settings = {"model": model, "question": QUESTION, "focus.mode": "attention", "threads": 1, "max_new_tokens": 6}
        self.process = ros.run_node("edge_node", **{**settings, **parameters})

    def ready(self) -> None:
        assert self.ros.spin_until(
            lambda: (
                self.camera.get_subscription_count() + self.jpegs.get_subscription_count() == 1
                and self.cloud.get_subscription_count() == 1
                and self.node.count_publishers("answer") == 1
            )
        ), self.process.output

    def until(self, condition: Callable[[], object]) -> None:
        assert self.ros.spin_until(condition), self.process.output
        assert self.process.popen.poll() is None, self.process.output

    def header(self, second: float) -> Header:
        header = Header(frame_id="camera")
        header.stamp.sec, header.stamp.nanosec = int(second), int(second % 1 * 1e9)
        return header

    def see(self, second: float) -> Answer:
        """The answer for one frame."""
        header = self.header(second)

        def answered() -> bool:
            return bool(self.answers) and self.answers[-1].header.stamp == header.stamp

        for _ in range(10):  # images are best effort: the first of them may find the subscription half matched
            self.camera.publish(to_image(header, PICTURE, "rgb8"))
            if self.ros.spin_until(answered, timeout=3.0):
                return self.answers[-1]
        raise AssertionError(f"no answer: {self.process.output}")

    def tell(self, second: float, text: str, status: int = CloudContext.STATUS_OK, question: str = QUESTION) -> None:
        region = Region(label="person", score=1.0, box=RegionOfInterest(x_offset=40, y_offset=30, width=60, height=50))
        self.cloud.publish(
            CloudContext(
                header=self.header(second),
                keyframe_id=1,
                question_id=Asked(question).id,
                status=status,
                text=text,
                regions=[region],
                image_width=160,
                image_height=120,
            )
        )

    def taken_in(self, second: float) -> None:
        """Sees frames from this second on until one is answered with the context that was told."""
        self.until(lambda: self.metrics and self.metrics[-1].contexts_applied == 1)
        assert any(self.see(second + step / 100).context_used for step in range(40)), self.process.output

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(kind, name)
        assert self.ros.spin_until(client.service_is_ready)
        future = client.call_async(request)
        assert self.ros.spin_until(future.done), self.process.output
        return future.result()

    def set(self, name: str, value: object) -> Any:
        message: ParameterMsg = Parameter(name, value=value).to_parameter_msg()
        return self.call(
            SetParameters, "/edge_node/set_parameters", SetParameters.Request(parameters=[message])
        ).results[0]


@pytest.fixture
def robot(ros: Any, tiny_model: Path) -> Robot:
    robot = Robot(ros, tiny_model)
    robot.ready()
    return robot


def test_a_frame_is_answered_under_its_own_header(robot: Robot) -> None:
    answer = robot.see(12.5)
    assert (answer.header.stamp.sec, answer.header.stamp.nanosec) == (12, 500_000_000)
    assert answer.header.frame_id == "camera"
    assert answer.question == QUESTION
    assert answer.question_id == Asked(QUESTION).id
    assert answer.text
    assert not answer.context_used
    assert 0.0 < answer.inference_time <= answer.frame_age
    stages = (answer.prepare_time, answer.vision_time, answer.prefill_time, answer.decode_time)
    assert min(stages) > 0.0
    assert sum(stages) <= 1.001 * answer.inference_time, "there is more to an answer than its stages"


def test_a_late_context_changes_the_next_answer(robot: Robot) -> None:
    before = robot.see(1.0)
    assert robot.see(2.0).text == before.text
    robot.tell(1.0, "ahead ahead right person right ahead")
    robot.taken_in(2.0)
    after = robot.see(3.0)
    assert after.text != before.text
    assert after.context_used
    assert after.context_stamp.sec == 1
    assert after.context_age == pytest.approx(2.0)
    robot.until(lambda: robot.focuses and robot.focuses[-1].header.stamp.sec == 3)
    assert robot.focuses[-1].mode == "attention"
    assert robot.focuses[-1].regions[0].label == "person"
    robot.until(lambda: robot.see(3.0) and robot.maps and robot.overlays[-1:] and stamped(robot.overlays[-1], 3))
    grid = np.frombuffer(robot.maps[-1].data, np.float32)
    assert (robot.maps[-1].encoding, grid.size) == ("32FC1", robot.focuses[-1].rows * robot.focuses[-1].cols)
    assert 0.0 < grid.max() <= 1.0
    assert (robot.overlays[-1].encoding, robot.overlays[-1].width) == ("bgr8", 160)


def stamped(message: Any, second: int) -> bool:
    return bool(message.header.stamp.sec == second)


def test_a_dead_or_confused_cloud_changes_nothing(robot: Robot) -> None:
    before = robot.see(1.0)
    robot.tell(1.0, "", CloudContext.STATUS_UNREACHABLE)
    robot.tell(1.0, "left", 99)
    robot.tell(1.0, "left", question="what is it?")
    robot.tell(1.0, "a word " * 150_000)
    robot.until(lambda: robot.metrics and robot.metrics[-1].contexts_ignored == 4)
    after = robot.see(2.0)
    assert after.text == before.text
    assert not after.context_used


def test_bad_frames_are_named_and_the_next_one_is_answered(robot: Robot) -> None:
    robot.see(1.0)
    depth = to_image(robot.header(1), np.zeros((4, 4), np.float32), "32FC1")
    empty = to_image(robot.header(1), PICTURE, "rgb8")
    empty.width = empty.height = 0
    for message, told in ((depth, "32FC1 is a depth image"), (empty, "0x0")):
        robot.until(lambda m=message, t=told: robot.camera.publish(m) or t in robot.process.output)  # type: ignore[misc]
    robot.until(lambda: robot.metrics and robot.metrics[-1].frames_bad >= 2)
    assert robot.see(2.0).text


def test_compressed_frames_are_answered_and_truncated_ones_named(ros: Any, tiny_model: Path) -> None:
    robot = Robot(ros, tiny_model, image_transport="compressed")
    robot.ready()
    jpeg = to_jpeg(PICTURE)

    def log() -> str:
        return robot.process.output.replace("compressed image is", "image is")

    for data, told in ((b"", "image is empty"), (jpeg[: len(jpeg) // 2], "JPEG is truncated")):
        message = CompressedImage(header=robot.header(1), format="jpeg", data=data)
        robot.until(lambda m=message, t=told: robot.jpegs.publish(m) or f"/image/compressed: the {t}" in log())  # type: ignore[misc]
    whole = CompressedImage(header=robot.header(1), format="jpeg", data=jpeg)
    robot.until(lambda: robot.jpegs.publish(whole) or robot.answers)


def test_questions_come_by_service_and_parameter(robot: Robot) -> None:
    response = robot.call(SetQuestion, "set_question", SetQuestion.Request(text="what is ahead?"))
    assert response.success
    assert response.question_id == Asked("what is ahead?").id
    assert robot.see(1.0).question == "what is ahead?"
    robot.until(lambda: robot.questions and robot.questions[-1].text == "what is ahead?")
    assert not robot.call(SetQuestion, "set_question", SetQuestion.Request(text="   ")).success
    assert robot.set("question", "who is it?").successful
    assert robot.see(2.0).question == "who is it?"


def test_parameters_change_live_or_are_refused_with_a_reason(robot: Robot) -> None:
    assert robot.set("focus.mode", "crop").successful
    refused = robot.set("focus.mode", "telepathy")
    assert not refused.successful
    assert "'telepathy' is none of attention, prune, crop, overlay, text; several are joined by +" in refused.reason
    assert "Parameter focus.beta out of range" in robot.set("focus.beta", 99.0).reason
    assert "unconfigured" in robot.set("device", "cpu").reason
    robot.see(1.0)
    robot.tell(1.0, "ahead")
    robot.taken_in(1.5)
    assert robot.see(2.0).focus_mode == "crop"
    assert robot.set("focus.mode", "attention+prune+text").successful
    assert robot.see(2.5).focus_mode == "attention+prune+text"


def test_the_answer_is_one_of_the_choices_until_any_is_allowed_again(robot: Robot) -> None:
    assert "twice" in robot.set("choices", ["left", "left"]).reason
    assert robot.set("choices", ["left", "left aisle", "right"]).successful
    answer = robot.see(1.0)
    assert answer.text in ("left", "left aisle", "right")
    assert 1 / 3 <= answer.confidence <= 1.0
    assert robot.set("choices", []).successful
    assert robot.see(2.0).text not in ("left", "left aisle", "right")


def test_the_lifecycle_stops_and_starts_answers_and_frees_the_model(robot: Robot) -> None:
    def change(transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(robot.call(ChangeState, "/edge_node/change_state", request).success)

    robot.see(1.0)
    assert change(Transition.TRANSITION_DEACTIVATE)
    robot.until(lambda: robot.camera.get_subscription_count() == 0)
    assert change(Transition.TRANSITION_CLEANUP)
    assert robot.set("max_new_tokens", 2).successful
    assert change(Transition.TRANSITION_CONFIGURE)
    assert change(Transition.TRANSITION_ACTIVATE)
    robot.ready()
    assert robot.see(2.0).text


def test_silence_of_the_camera_is_reported(robot: Robot) -> None:
    robot.until(lambda: any("no image on /image" in s.message for d in robot.diagnostics for s in d.status))
    count = len(robot.diagnostics)

    def answering() -> bool:
        robot.camera.publish(to_image(robot.header(time.time()), PICTURE, "rgb8"))
        return any(s.message == "answering" for d in robot.diagnostics[count:] for s in d.status)

    robot.until(answering)


def test_a_model_behind_a_local_server_answers_and_refuses_what_only_its_inside_could_do(ros: Any) -> None:
    def streamed(request: Request) -> Reply:
        words = json.dumps({"choices": [{"index": 0, "delta": {"content": "left"}, "finish_reason": "stop"}]})
        return Reply(f"data: {words}\n\ndata: [DONE]\n\n".encode(), headers={"Content-Type": "text/event-stream"})

    with ScriptedCloud(streamed) as server:
        server.models = Reply({"data": [{"id": "\ud800"}, {"id": "a\n[ERROR] forged"}, {"id": "scripted-lvlm"}]})
        robot = Robot(ros, "", **{"server_url": server.base_url, "focus.mode": "crop+text"})
        robot.ready()
        answer = robot.see(1.0)
        assert (answer.text, answer.model) == ("left", "scripted-lvlm")
        assert math.isnan(answer.confidence)
        assert "cannot be focused by 'attention'" in robot.set("focus.mode", "attention").reason
        assert "cannot keep its answers to given choices" in robot.set("choices", ["left", "right"]).reason
        robot.tell(1.0, "on the right")
        robot.taken_in(1.5)
        asked = json.dumps(server.requests[-1].body["messages"])
        assert "on the right" in asked
        assert "Look at" in asked


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "no_such_model"}, "model 'no_such_model': no such folder"),
        ({"image_transport": "pigeon"}, "image_transport = 'pigeon': it takes one of raw, compressed"),
        ({"focus.layers": "77"}, "focus layers [77] are not all in 0..2"),
        ({"focus.beta": -2.0}, "focus.beta = -2.0: it takes -1 to 10"),
        ({"focus.mode": "stare"}, "focus mode 'stare': 'stare' is none of attention, prune, crop"),
    ],
)
def test_a_node_that_cannot_start_says_why(
    ros: Any, tiny_model: Path, parameters: dict[str, object], message: str
) -> None:
    process = ros.run_node("edge_node", **{"model": tiny_model, **parameters})
    assert process.wait() == 2
    assert message in process.output


def test_a_node_whose_server_is_not_up_yet_says_so_with_another_exit_code(ros: Any) -> None:
    process = ros.run_node("edge_node", server_url="http://127.0.0.1:9/v1")
    assert process.wait() == 1
    assert "no server answers at http://127.0.0.1:9/v1" in process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize(("model", "said"), [("micro_svlm", 1), (None, 0)])
def test_a_bundled_model_says_once_that_it_is_for_demonstration(
    ros: Any, tiny_model: Path, model: str | None, said: int
) -> None:
    process = ros.run_node("edge_node", model=model or tiny_model, question="what?", threads=1)
    assert ros.spin_until(lambda: "answering the frames" in process.output), process.output
    assert process.output.count("the rendered world") == said

# SPDX-License-Identifier: Apache-2.0
"""The cloud bridge over DDS, with real HTTP servers behind it: a scripted one, and the bundled kind."""

from __future__ import annotations

import base64
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from edgevlm_msgs.msg import Answer, CloudContext, Metrics, Question
from edgevlm_ros.cloud.eyes import Eyes
from edgevlm_ros.cloud.features import to_bytes
from edgevlm_ros.cloud.jpeg import shown
from edgevlm_ros.cloud.privacy import Area
from edgevlm_ros.cloud.server import LvlmServer
from edgevlm_ros.images import to_image, to_jpeg, to_rgb
from edgevlm_ros.nodes import cloud_bridge_node, qos
from edgevlm_ros.nodes.cloud_bridge_node import PARAMETERS, CloudBridgeNode, _seen
from edgevlm_ros.nodes.conversions import to_time
from edgevlm_ros.transfer.types import Question as Asked
from support.scripted_cloud import Reply, ScriptedCloud, completion
from support.tiny_lvlm import make_tiny_lvlm

QUESTION = "Where is the cart?"
PICTURE = np.random.default_rng(5).integers(0, 255, (480, 640, 3), dtype=np.uint8)
JPEG = to_jpeg(PICTURE, 60)


class Robot:
    """A camera that films all the time, a standing question, and a listener, around one bridge in this process."""

    def __init__(self, ros: Any, base_url: str, *, question: str = QUESTION, **parameters: object) -> None:
        self.ros = ros
        self.node = ros.node()
        self.contexts: list[CloudContext] = []
        self.metrics: list[Metrics] = []
        self.diagnostics: list[DiagnosticStatus] = []
        self.node.create_subscription(CloudContext, "context", self.contexts.append, qos.EVENTS)
        self.node.create_subscription(Metrics, "metrics", self.metrics.append, qos.EVENTS)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnosed, qos.EVENTS)
        self.camera = self.node.create_publisher(Image, "image", qos.EVENTS)
        self.jpegs = self.node.create_publisher(CompressedImage, "image/compressed", qos.EVENTS)
        self.questions = self.node.create_publisher(Question, "question", qos.LATCHED)
        self.answers = self.node.create_publisher(Answer, "answer", qos.EVENTS)
        self.once = self.node.create_publisher(Question, "question/once", qos.EVENTS)
        if question:
            self.questions.publish(Question(text=question, question_id=Asked(question).id))
        values = {"base_url": base_url, "keyframe_period": 0.2, "timeout": 60.0, **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.bridge = ros.add(CloudBridgeNode(context=ros.context, parameter_overrides=overrides))
        self.frames = 0
        self.frame: Callable[[], Image | CompressedImage] = self.picture
        self.node.create_timer(0.05, self._film)

    def start(self) -> Robot:
        assert self.bridge.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert self.bridge.trigger_activate() == TransitionCallbackReturn.SUCCESS
        return self

    def until(self, condition: Callable[[], object], why: str = "") -> None:
        assert self.ros.spin_until(condition), why or f"{self.statuses} {[c.error_msg for c in self.contexts][-3:]}"

    def header(self) -> Header:
        return Header(frame_id="camera", stamp=to_time(time.time_ns()))

    def picture(self) -> Image:
        return to_image(self.header(), PICTURE, "rgb8")

    @property
    def statuses(self) -> list[int]:
        return [context.status for context in self.contexts]

    def ask_once(self, question: str, stamp: int = 0) -> None:
        self.until(lambda: self.once.get_subscription_count(), "the bridge does not listen on question/once")
        asked = Question(text=question, question_id=Asked(question).id)
        asked.header.stamp.sec = stamp
        self.once.publish(asked)

    def answer(self, text: str, confidence: float, **fields: object) -> None:
        """What an edge node says of a frame."""
        asked = Asked(QUESTION).id
        self.answers.publish(Answer(question_id=asked, text=text, confidence=confidence, **fields))

    def values(self) -> dict[str, str]:
        """Of the newest diagnostics."""
        return {value.key: value.value for value in self.diagnostics[-1].values} if self.diagnostics else {}

    def about(self, question: str) -> list[CloudContext]:
        return [context for context in self.contexts if context.question == question]

    def set(self, name: str, value: object) -> Any:
        return self.bridge.set_parameters([Parameter(name, value=value)])[0]

    def _film(self) -> None:
        self.frames += 1
        frame = self.frame()
        (self.camera if isinstance(frame, Image) else self.jpegs).publish(frame)

    def _diagnosed(self, message: DiagnosticArray) -> None:
        self.diagnostics.extend(message.status)


@pytest.fixture
def cloud() -> Iterator[ScriptedCloud]:
    with ScriptedCloud() as cloud:
        yield cloud


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_every_keyframe_comes_back_as_one_context_under_its_own_header(ros: Any, cloud: ScriptedCloud) -> None:
    robot = Robot(ros, cloud.base_url).start()
    robot.until(lambda: len(robot.contexts) >= 5)
    context = robot.contexts[0]
    assert context.status == CloudContext.STATUS_OK
    assert (context.text, context.error_msg) == ("acid, left", "")
    assert (context.question, context.question_id) == (QUESTION, Asked(QUESTION).id)
    assert (context.image_width, context.image_height, context.model) == (640, 480, "scripted-lvlm")
    region = context.regions[0]
    box = region.box
    assert (region.label, box.x_offset, box.y_offset, box.width, box.height) == ("cart", 80, 120, 160, 120)
    assert context.header.frame_id == "camera"
    assert 0.0 < context.delay < 60.0
    assert context.received.sec >= context.sent.sec > 0
    assert context.bytes_up > 1000
    assert context.prompt_tokens == 150
    assert [c.keyframe_id for c in robot.contexts] == list(range(1, len(robot.contexts) + 1))
    stamps = [(c.header.stamp.sec, c.header.stamp.nanosec) for c in robot.contexts]
    assert stamps == sorted(set(stamps))


def test_nothing_is_sent_before_there_is_a_question(ros: Any, cloud: ScriptedCloud) -> None:
    robot = Robot(ros, cloud.base_url, question="").start()
    robot.until(lambda: any("no question yet" in status.message for status in robot.diagnostics))
    assert cloud.chats == []
    robot.questions.publish(Question(text="  "))
    robot.questions.publish(Question(text="Who is there?"))
    robot.until(lambda: robot.contexts)
    assert robot.contexts[0].question == "Who is there?"


def test_a_new_question_is_asked_at_once(ros: Any, cloud: ScriptedCloud) -> None:
    robot = Robot(ros, cloud.base_url, keyframe_period=600.0).start()
    robot.until(lambda: robot.contexts)
    robot.questions.publish(Question(text="Who is there?"))
    robot.until(lambda: len(robot.contexts) == 2)
    assert robot.contexts[1].question_id == Asked("Who is there?").id


def test_no_more_than_max_in_flight_wait_for_a_reply(ros: Any, cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: completion(hold=60.0)
    robot = Robot(ros, cloud.base_url, keyframe_period=0.05, max_in_flight=3).start()
    robot.until(lambda: robot.metrics and robot.metrics[-1].in_flight == len(cloud.chats) == 3)
    frames = robot.frames
    robot.until(lambda: robot.frames > frames + 10)
    assert len(cloud.chats) == 3
    robot.bridge.trigger_deactivate()
    robot.until(lambda: len(robot.contexts) == 3)
    assert set(robot.statuses) == {CloudContext.STATUS_DROPPED}
    robot.until(lambda: robot.metrics[-1].requests == robot.metrics[-1].replies_failed == 3)


def test_a_dead_cloud_gives_contexts_that_say_so_until_it_is_back(ros: Any) -> None:
    port = free_port()
    robot = Robot(ros, f"http://127.0.0.1:{port}/v1").start()
    robot.until(lambda: robot.statuses.count(CloudContext.STATUS_UNREACHABLE) >= 2)
    assert "is the server running" in robot.contexts[0].error_msg
    robot.until(lambda: any("failed in a row" in status.message for status in robot.diagnostics))
    said = next(status.message for status in robot.diagnostics if "failed in a row" in status.message)
    assert said.startswith("the cloud is not reachable")
    assert f"127.0.0.1:{port}" in said
    assert "`edgevlm serve` starts the bundled server" in said
    with ScriptedCloud(port=port):
        robot.until(lambda: robot.statuses.count(CloudContext.STATUS_OK) >= 2)
    robot.until(lambda: robot.statuses[-1] != CloudContext.STATUS_OK)
    with ScriptedCloud(port=port):
        robot.until(lambda: robot.statuses[-1] == CloudContext.STATUS_OK)
    last = robot.metrics[-1]
    assert last.replies_failed >= 2
    assert last.requests >= last.replies_ok + last.replies_failed


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply("no", status=500), CloudContext.STATUS_REJECTED),
        (Reply(b"<html>"), CloudContext.STATUS_UNPARSABLE),
        (completion(hold=30.0), CloudContext.STATUS_TIMEOUT),
        (Reply(b"", cut=True), CloudContext.STATUS_UNREACHABLE),
    ],
    ids=["rejected", "unparsable", "timeout", "cut"],
)
def test_each_failure_has_its_status_and_a_message_and_no_text(
    ros: Any, cloud: ScriptedCloud, reply: Reply, status: int
) -> None:
    cloud.answer = lambda request: reply
    # of which a third is for connecting, which on loopback fails for want of time only
    robot = Robot(ros, cloud.base_url, timeout=2.0 if status == CloudContext.STATUS_TIMEOUT else 60.0).start()
    robot.until(lambda: len(robot.contexts) >= 2)
    for context in robot.contexts:
        assert context.status == status
        assert context.error_msg
        assert (context.text, list(context.regions)) == ("", [])


def test_a_camera_jpeg_goes_up_as_it_is(ros: Any, cloud: ScriptedCloud) -> None:
    robot = Robot(ros, cloud.base_url, image_transport="compressed")
    robot.frame = lambda: CompressedImage(header=robot.header(), format="jpeg", data=JPEG)
    robot.start()
    robot.until(lambda: robot.contexts)
    assert base64.b64decode(str(cloud.chats[0].image_url).split(",")[1]) == JPEG


def uploaded(cloud: ScriptedCloud) -> list[np.ndarray]:
    """The pictures that the cloud got."""
    data = [base64.b64decode(request.image_url.split(",")[1]) for request in cloud.chats if request.image_url]
    return [to_rgb(CompressedImage(format="jpeg", data=jpeg)).astype(float) for jpeg in data]


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_a_hidden_area_is_hidden_in_every_keyframe(ros: Any, cloud: ScriptedCloud, transport: str) -> None:
    robot = Robot(ros, cloud.base_url, image_transport=transport, **{"privacy.blur_areas": ["0 0 0.5 1"]})
    if transport == "compressed":
        robot.frame = lambda: CompressedImage(header=robot.header(), format="jpeg", data=JPEG)
    robot.start()
    robot.until(lambda: len(robot.contexts) > 1 and robot.diagnostics)
    for picture in uploaded(cloud):
        assert picture[:, :310].std() < 10 < 30 < picture[:, 330:].std()
    values = {value.key: value.value for value in robot.diagnostics[-1].values}
    robot.until(
        lambda: any(v.value == "1" for v in robot.diagnostics[-1].values if "hidden areas" in v.key), str(values)
    )


def test_a_thing_that_the_cloud_has_named_is_hidden_from_then_on(ros: Any, cloud: ScriptedCloud) -> None:
    boxed = '{"answer": "here", "regions": [{"label": "a Person", "bbox_2d": [0, 0, 500, 1000]}]}'
    cloud.answer = lambda request: completion(boxed if len(uploaded(cloud)) == 1 else '{"answer": "nobody"}')
    robot = Robot(ros, cloud.base_url, max_in_flight=1, **{"privacy.blur_labels": ["person"], "privacy.hold": 3600.0})
    robot.start()
    robot.until(lambda: len(robot.contexts) > 2)
    first, *later = (picture[:, :310].std() for picture in uploaded(cloud))
    assert first > 30, "the frame that shows a thing for the first time goes up whole"
    assert max(later) < 10


def test_a_large_frame_is_reduced_and_its_boxes_are_pixels_of_the_frame(ros: Any, cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: completion('{"answer": "here", "regions": [{"bbox_2d": [0, 0, 160, 60]}]}')
    robot = Robot(ros, cloud.base_url, max_side=320, box_format="pixels").start()
    robot.until(lambda: robot.contexts)
    box = robot.contexts[0].regions[0].box
    assert (box.width, box.height) == (320, 120)
    assert "320 wide and 240 high" in cloud.chats[0].body["messages"][0]["content"]


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_the_reply_is_asked_for_by_a_schema_unless_that_is_off(ros: Any, cloud: ScriptedCloud, mode: str) -> None:
    robot = Robot(ros, cloud.base_url, structured_output=mode).start()
    robot.until(lambda: robot.contexts and robot.values().get("structured output"))
    assert ("response_format" in cloud.chats[0].body) is (mode == "auto")
    assert (robot.values()["structured output"] == "off") is (mode == "off")


def test_bad_frames_end_as_contexts_that_name_the_fault_and_good_ones_follow(ros: Any, cloud: ScriptedCloud) -> None:
    robot = Robot(ros, cloud.base_url)
    depth = to_image(Header(), np.zeros((4, 4), np.float32), "32FC1")
    hollow = Image(width=0, height=0, encoding="rgb8")

    def named(words: str) -> bool:
        return any(c.status == CloudContext.STATUS_DROPPED and words in c.error_msg for c in robot.contexts)

    robot.frame = lambda: depth
    robot.start()
    robot.until(lambda: named("32FC1 is a depth image"))
    robot.frame = lambda: hollow
    robot.until(lambda: named("0x0"))
    robot.frame = robot.picture
    robot.until(lambda: CloudContext.STATUS_OK in robot.statuses)


@pytest.mark.parametrize("data", [b"", JPEG[: len(JPEG) // 2], b"GIF89a"], ids=["empty", "truncated", "gif"])
def test_a_bad_jpeg_is_named_and_not_sent(ros: Any, cloud: ScriptedCloud, data: bytes) -> None:
    robot = Robot(ros, cloud.base_url, image_transport="compressed")
    robot.frame = lambda: CompressedImage(header=robot.header(), format="jpeg", data=data)
    robot.start()
    robot.until(lambda: robot.contexts)
    assert robot.statuses[0] == CloudContext.STATUS_DROPPED
    assert robot.contexts[0].error_msg
    assert cloud.chats == []


def test_an_emulated_cloud_is_slow_and_fails(ros: Any, cloud: ScriptedCloud) -> None:
    emulated = {"emulated_delay": "fixed", "emulated_delay_s": 0.5}
    outages = {"emulated_outage_period_s": 2.0, "emulated_outage_s": 1.0}
    robot = Robot(ros, cloud.base_url, **emulated, **outages).start()
    robot.until(lambda: {CloudContext.STATUS_OK, CloudContext.STATUS_DROPPED} <= set(robot.statuses))
    assert min(c.delay for c in robot.contexts if c.status == CloudContext.STATUS_OK) >= 0.5
    assert any("emulated outage" in context.error_msg for context in robot.contexts)


def test_metrics_and_diagnostics_tell_how_the_cloud_does(ros: Any, cloud: ScriptedCloud) -> None:
    robot = Robot(ros, cloud.base_url).start()
    robot.until(lambda: robot.metrics and robot.metrics[-1].replies_ok >= 3)
    metrics = robot.metrics[-1]
    assert metrics.node == "cloud_bridge_node"
    assert metrics.requests >= metrics.replies_ok
    assert metrics.bytes_up > 10_000
    assert 0.0 < metrics.delay_p50 <= metrics.delay_p95
    robot.until(lambda: robot.diagnostics and "answered" in robot.diagnostics[-1].message)
    status = robot.diagnostics[-1]
    assert (status.name, status.level) == ("cloud_bridge_node", DiagnosticStatus.OK)
    assert {"replies OK", "bytes up", "server"} <= {value.key for value in status.values}
    assert metrics.frame_rate > 0.0
    assert metrics.memory > 10_000_000
    assert not math.isnan(metrics.stamp_age)


def test_a_key_that_is_refused_is_told_by_its_parameter(
    ros: Any, cloud: ScriptedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEVLM_TEST_KEY", "sk-secret")
    cloud.answer = lambda request: Reply({"error": "sk-secret is not valid"}, status=401)
    robot = Robot(ros, cloud.base_url, api_key_env="EDGEVLM_TEST_KEY").start()
    robot.until(lambda: any("HTTP 401" in status.message for status in robot.diagnostics))
    said = next(status for status in robot.diagnostics if "HTTP 401" in status.message)
    assert said.message.startswith("the cloud refuses")
    assert "api_key_env = 'EDGEVLM_TEST_KEY'" in said.message
    assert "sk-secret" not in str(said)


# -- questions that are asked once -----------------------------------------------------------------------------------


def test_a_question_asked_once_takes_the_newest_image_at_once_and_leaves_the_rest_as_it_is(
    ros: Any, cloud: ScriptedCloud
) -> None:
    robot = Robot(ros, cloud.base_url, keyframe_period=600.0, max_in_flight=1).start()
    robot.until(lambda: robot.contexts)
    frames = robot.frames
    robot.until(lambda: robot.frames > frames + 5)
    robot.ask_once("Who is there?", stamp=7)
    robot.until(lambda: robot.about("Who is there?"))
    context = robot.about("Who is there?")[0]
    assert (context.status, context.question_id) == (CloudContext.STATUS_OK, Asked("Who is there?").id)
    first = robot.contexts[0].header.stamp
    assert (context.header.stamp.sec, context.header.stamp.nanosec) > (first.sec, first.nanosec)
    assert (context.request_stamp.sec, robot.contexts[0].request_stamp.sec) == (7, 0)
    assert "Who is there?" in str(cloud.chats[-1].body)
    assert robot.set("keyframe_period", 0.05).successful
    robot.until(lambda: len(robot.about(QUESTION)) >= 3)
    assert len(robot.about("Who is there?")) == 1


def test_a_question_asked_once_has_a_place_in_flight_of_its_own(ros: Any, cloud: ScriptedCloud) -> None:
    held = threading.Event()

    def answer(request: Any) -> Reply:
        if QUESTION in str(request.body):
            held.wait(60.0)
        return completion()

    cloud.answer = answer
    robot = Robot(ros, cloud.base_url, keyframe_period=0.05, max_in_flight=1, timeout=60.0).start()
    robot.until(lambda: len(cloud.chats) == 1)
    robot.ask_once("Who is there?")
    robot.until(lambda: robot.about("Who is there?"))
    assert len(cloud.chats) == 2
    held.set()
    robot.until(lambda: robot.about(QUESTION))


def test_more_questions_at_once_than_have_a_place_are_told_so(ros: Any, cloud: ScriptedCloud) -> None:
    held = threading.Event()

    def answer(request: Any) -> Reply:
        if "now?" in str(request.body):
            held.wait(60.0)
        return completion()

    cloud.answer = answer
    robot = Robot(ros, cloud.base_url, timeout=60.0).start()
    robot.until(lambda: len(robot.about(QUESTION)) >= 1)
    for number in range(3):
        robot.ask_once(f"{number}, now?", stamp=10 + number)
    robot.until(lambda: robot.about("2, now?"))
    refused = robot.about("2, now?")[0]
    assert refused.status == CloudContext.STATUS_DROPPED
    assert "2 questions of 'ask' wait" in refused.error_msg
    assert refused.request_stamp.sec == 12
    count = len(robot.about(QUESTION))
    robot.until(lambda: len(robot.about(QUESTION)) > count + 2, "the schedule does not go on")
    held.set()
    robot.until(lambda: robot.about("0, now?") and robot.about("1, now?"))
    robot.ask_once("3, now?")
    robot.until(lambda: robot.about("3, now?"))
    assert robot.about("3, now?")[0].status == CloudContext.STATUS_OK


def test_a_question_before_the_first_image_is_answered_with_its_own_header(ros: Any, cloud: ScriptedCloud) -> None:
    robot = Robot(ros, cloud.base_url, image_transport="compressed").start()
    robot.ask_once("Who is there?", stamp=7)
    robot.until(lambda: robot.contexts)
    context = robot.contexts[0]
    assert (context.status, context.header.stamp.sec) == (CloudContext.STATUS_DROPPED, 7)
    assert context.request_stamp.sec == 7
    assert "no image has come yet on /image/compressed" in context.error_msg
    robot.ask_once("  ")
    robot.frame = lambda: CompressedImage(header=robot.header(), format="jpeg", data=JPEG)
    robot.until(lambda: robot.about(QUESTION))
    assert {context.question for context in robot.contexts} == {"Who is there?", QUESTION}


def test_the_period_changes_live_and_the_rest_only_when_unconfigured(ros: Any, cloud: ScriptedCloud) -> None:
    robot = Robot(ros, cloud.base_url, keyframe_period=600.0).start()
    robot.until(lambda: robot.contexts)
    assert robot.set("keyframe_period", 0.05).successful
    robot.until(lambda: len(robot.contexts) >= 4)
    refused = robot.set("keyframe_period", -1.0)
    assert not refused.successful
    assert {"keyframe_period", "0.05", "-1.0"} <= set(refused.reason.replace(",", "").replace(":", "").split())
    assert "unconfigured" in robot.set("timeout", 3.0).reason
    robot.bridge.trigger_deactivate()
    robot.bridge.trigger_cleanup()
    assert robot.set("timeout", 3.0).successful
    robot.start()
    count = len(robot.contexts)
    robot.until(lambda: len(robot.contexts) > count)
    assert len({context.keyframe_id for context in robot.contexts}) == len(robot.contexts)


# -- keyframes by signs ----------------------------------------------------------------------------------------------

SIGNS = {"keyframes.mode": "adaptive", "keyframes.min_period": 0.1, "keyframes.max_period": 3600.0}


def test_doubts_of_the_small_model_send_keyframes_and_the_reason_is_counted(ros: Any, cloud: ScriptedCloud) -> None:
    robot = Robot(ros, cloud.base_url, **SIGNS).start()
    robot.until(lambda: robot.contexts and robot.answers.get_subscription_count())
    frames = robot.frames
    while robot.frames < frames + 20:
        robot.answer("acid, left", 0.99)
        robot.until(lambda seen=robot.frames: robot.frames > seen)
    assert len(robot.contexts) == 1
    robot.answer("gas, left", 0.5)
    robot.answer("gas, left", 0.5, source=Answer.SOURCE_CLOUD)  # the cloud's own words are no doubt of the small model
    frames = robot.frames
    robot.until(lambda: robot.frames > frames + 10)
    assert len(robot.contexts) == 1
    robot.answer("acid, left", 0.5)
    robot.until(lambda: len(robot.contexts) == 2)
    robot.until(lambda: robot.values().get("keyframes by unsure") == "1", str(robot.values()))
    assert robot.values()["keyframes by question"] == "1"


def test_a_doubt_waits_longer_after_a_reply_that_agreed_until_one_says_otherwise(
    ros: Any, cloud: ScriptedCloud
) -> None:
    robot = Robot(ros, cloud.base_url, **SIGNS).start()
    robot.until(lambda: robot.contexts and robot.answers.get_subscription_count())
    for count, then, wait in ((2, "acid, left", "0.2 s"), (3, "gas, left", "0.1 s")):  # the cloud says: acid, left
        for _ in range(2):
            robot.answer("gas, left", 0.5)
        robot.until(lambda count=count: len(robot.contexts) == count)
        robot.answer(then, 0.99)
        robot.until(lambda wait=wait: robot.values().get("a sign sends a keyframe after") == wait, str(robot.values()))


def test_another_scene_sends_a_keyframe(ros: Any, cloud: ScriptedCloud) -> None:
    robot = Robot(ros, cloud.base_url, **SIGNS).start()
    robot.until(lambda: robot.contexts)
    frames = robot.frames
    robot.until(lambda: robot.frames > frames + 20)
    assert len(robot.contexts) == 1
    robot.frame = lambda: to_image(robot.header(), np.full((480, 640, 3), (200, 30, 30), np.uint8), "rgb8")
    robot.until(lambda: len(robot.contexts) == 2)
    robot.until(lambda: robot.values().get("keyframes by scene") == "1", str(robot.values()))


def test_images_are_decoded_beside_the_thread_that_spins(
    ros: Any, cloud: ScriptedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    decode = cloud_bridge_node.to_rgb
    monkeypatch.setattr(
        cloud_bridge_node, "to_rgb", lambda m: threads.add(threading.current_thread().name) or decode(m)
    )
    robot = Robot(ros, cloud.base_url, **SIGNS).start()
    robot.until(lambda: robot.contexts)
    assert "keyframes_0" in threads
    assert threading.current_thread().name not in threads


def test_the_mode_changes_live_and_periods_the_wrong_way_round_are_refused(ros: Any, cloud: ScriptedCloud) -> None:
    robot = Robot(ros, cloud.base_url, keyframe_period=600.0).start()
    robot.until(lambda: robot.contexts)
    refused = robot.set("keyframes.min_period", 11.0)
    assert "keyframes.min_period = 11 is longer than keyframes.max_period = 10" in refused.reason
    assert robot.set("keyframes.min_period", 0.05).successful
    assert robot.set("keyframes.max_period", 0.05).successful
    assert robot.set("keyframes.mode", "adaptive").successful
    robot.until(lambda: len(robot.contexts) >= 3)


def test_every_parameter_is_described() -> None:
    assert all(parameter.description.endswith(".") for parameter in PARAMETERS)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"base_url": "127.0.0.1:8000"}, "not an http or https URL with a host"),
        ({"emulated_delay": "sometimes"}, "emulated_delay = 'sometimes': it takes one of none, fixed, lognormal"),
        ({"budget.money_per_hour": 0.5}, "money_per_hour needs price.prompt"),
        ({"max_in_flight": 0}, "max_in_flight = 0: it takes 1 to 64"),
        ({"keyframes.mode": "sometimes"}, "keyframes.mode = 'sometimes': it takes one of period, adaptive"),
        ({"keyframes.min_period": 11.0}, "keyframes.min_period = 11 is longer than keyframes.max_period = 10"),
        ({"base_url": "http://10.0.0.5:8488/v1"}, "set allow_http to true"),
        ({"api_key_env": "EDGEVLM_NO_SUCH_KEY"}, "api_key_env = 'EDGEVLM_NO_SUCH_KEY'"),
        ({"upload": "features", "features.model": "no_such_lvlm"}, "model 'no_such_lvlm'"),
        ({"privacy.blur_areas": ["0 0 640 480"]}, "privacy.blur_areas: '0 0 640 480' is no area"),
    ],
)
def test_a_bridge_that_cannot_start_says_why(ros: Any, parameters: dict[str, object], message: str) -> None:
    process = ros.run_node("cloud_bridge_node", **parameters)
    assert process.wait() == 2
    assert message in process.output
    assert "Traceback" not in process.output


def test_of_a_cloud_that_fails_only_probes_are_asked_and_a_question_of_ask_hears_why(
    ros: Any, cloud: ScriptedCloud
) -> None:
    cloud.answer = lambda request: Reply("overloaded", status=503)
    robot = Robot(ros, cloud.base_url, **{"breaker.failures": 2, "breaker.first_pause": 3600.0}).start()
    robot.until(lambda: any("2 failures in a row, the next probe is in " in said.message for said in robot.diagnostics))
    frames = robot.frames
    robot.until(lambda: robot.frames > frames + 20)
    assert len(cloud.chats) == len(robot.contexts) == 2
    robot.ask_once("Who is there?")
    robot.until(lambda: robot.about("Who is there?"))
    assert robot.about("Who is there?")[0].status == CloudContext.STATUS_DROPPED
    assert robot.about("Who is there?")[0].error_msg.startswith("not sent: 2 failures in a row")
    assert len(cloud.chats) == 2


def test_a_tight_budget_makes_keyframes_rarer_and_says_so_but_a_new_question_goes_up_at_once(
    ros: Any, cloud: ScriptedCloud
) -> None:
    robot = Robot(ros, cloud.base_url, **{"budget.calls_per_minute": 30.0}).start()
    words = "keyframes every 2.2 s instead of every 0.2 s: calls_per_minute = 30"
    robot.until(lambda: any(words in said.message for said in robot.diagnostics))
    assert robot.diagnostics[-1].level == DiagnosticStatus.OK
    frames, chats, began = robot.frames, len(cloud.chats), time.monotonic()
    robot.questions.publish(Question(text="Who is there?"))
    robot.until(lambda: robot.about("Who is there?"))
    robot.until(lambda: robot.frames > frames + 30)
    assert len(cloud.chats) <= chats + 2 + (time.monotonic() - began) / 2.0


def test_ctrl_c_drops_what_is_under_way_and_ends_cleanly(ros: Any, cloud: ScriptedCloud) -> None:
    cloud.answer = lambda request: completion(hold=60.0)
    listener = ros.node()
    contexts: list[CloudContext] = []
    listener.create_subscription(CloudContext, "context", contexts.append, qos.EVENTS)
    questions = listener.create_publisher(Question, "question", qos.LATCHED)
    questions.publish(Question(text=QUESTION))
    camera = listener.create_publisher(Image, "image", qos.EVENTS)
    process = ros.run_node("cloud_bridge_node", base_url=cloud.base_url)
    listener.create_timer(0.05, lambda: camera.publish(to_image(Header(), PICTURE, "rgb8")))
    assert ros.spin_until(lambda: cloud.chats), process.output
    assert process.interrupt() == 0, process.output
    assert ros.spin_until(lambda: contexts)
    assert contexts[0].status == CloudContext.STATUS_DROPPED
    assert "Traceback" not in process.output


@pytest.mark.timeout(300)
def test_a_real_server_answers_and_grounds(ros: Any, tmp_path: Path) -> None:
    folder = make_tiny_lvlm(tmp_path / "tiny_lvlm")
    with LvlmServer(str(folder)) as server:
        robot = Robot(ros, server.base_url).start()
        robot.until(lambda: robot.statuses.count(CloudContext.STATUS_OK) >= 3)
        context = robot.contexts[0]
        assert (context.text, context.regions[0].label, context.model) == ("left", "person", "tiny_lvlm@main")
        server.kill()
        robot.until(lambda: robot.statuses[-1] == CloudContext.STATUS_UNREACHABLE)


@pytest.mark.timeout(300)
def test_features_go_up_in_place_of_pictures_and_boxes_come_back_in_pixels_of_the_keyframe(
    ros: Any, tmp_path: Path
) -> None:
    folder = make_tiny_lvlm(tmp_path / "tiny_lvlm")
    eyes = {"upload": "features", "features.model": str(folder), "features.keep": 0.5}
    with LvlmServer(str(folder)) as server:
        robot = Robot(ros, server.base_url, max_side=320, **eyes).start()
        robot.until(lambda: robot.statuses.count(CloudContext.STATUS_OK) >= 2)
        context = robot.contexts[0]
        assert (context.status, context.text, context.error_msg) == (CloudContext.STATUS_OK, "left", "")
        box = context.regions[0].box
        assert (box.x_offset, box.y_offset, box.width, box.height) == (0, 120, 320, 360)
        assert (context.image_width, context.image_height) == (640, 480)
        assert 8 * 64 < context.bytes_up < 4000


def test_a_server_that_takes_no_features_says_so_in_the_context(ros: Any, cloud: ScriptedCloud, tmp_path: Path) -> None:
    folder = make_tiny_lvlm(tmp_path / "tiny_lvlm")
    cloud.answer = lambda request: Reply({"error": "unknown part type: image_embeds"}, 400)
    robot = Robot(ros, cloud.base_url, upload="features", **{"features.model": str(folder)}).start()
    robot.until(lambda: CloudContext.STATUS_REJECTED in robot.statuses)
    rejected = next(each for each in robot.contexts if each.status == CloudContext.STATUS_REJECTED)
    assert "set upload to image" in rejected.error_msg


def test_what_is_hidden_is_hidden_from_the_eyes(tmp_path: Path) -> None:
    eyes = Eyes(str(make_tiny_lvlm(tmp_path / "tiny_lvlm")))
    area = Area(0.0, 0.0, 0.5, 1.0)
    message = to_image(Header(), PICTURE, "rgb8")
    upload = _seen(message, 320, (area,), eyes)
    assert (upload.jpeg, upload.hidden, upload.width, upload.source_width) == (b"", 1, 320, 640)
    assert upload.features == to_bytes(eyes.see(shown(PICTURE, 320, (area,))))
    assert upload.features != _seen(message, 320, (), eyes).features
    eyes.close()

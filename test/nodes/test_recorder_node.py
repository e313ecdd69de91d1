# SPDX-License-Identifier: Apache-2.0
"""The recorder as a process in a real graph: what is said is on the disk, and nothing that is said ends it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

import numpy as np
from builtin_interfaces.msg import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from edgevlm_msgs.msg import Annotation, Answer, CloudContext, Metrics
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_ros.bags import BagReader
from edgevlm_ros.evaluation.recording import read_recording
from edgevlm_ros.evaluation.video import frames
from edgevlm_ros.images import to_image
from edgevlm_ros.nodes import qos, recorder_node
from edgevlm_ros.transfer.types import Question

START = 1_700_000_000
WHERE = Question("Where is the person?")


def at(second: float) -> Header:
    return Header(stamp=Time(sec=START + int(second), nanosec=round(second % 1 * 1e9)), frame_id="camera")


class Graph:
    """Publishers of all that the recorder listens to, and a recorder that has found them."""

    def __init__(self, ros: Any, folder: Path, **parameters: object) -> None:
        self.ros, self.node = ros, ros.node()
        self.clock = self.node.create_publisher(Clock, "/clock", qos.EVENTS)
        self.question = self.node.create_publisher(QuestionMsg, "question", qos.LATCHED)
        self.truth = self.node.create_publisher(Annotation, "ground_truth", qos.EVENTS)
        self.answer = self.node.create_publisher(Answer, "answer", qos.EVENTS)
        self.context = self.node.create_publisher(CloudContext, "context", qos.EVENTS)
        self.metrics = self.node.create_publisher(Metrics, "metrics", qos.EVENTS)
        self.overlay = self.node.create_publisher(Image, "focus/overlay", qos.EVENTS)
        self.question.publish(QuestionMsg(text=WHERE.text, question_id=WHERE.id))
        self.process = ros.run_node("recorder_node", folder=str(folder), use_sim_time=True, **parameters)
        heard = [self.clock, self.truth, self.answer, self.context, self.metrics]
        heard += [self.overlay] if parameters.get("overlay", True) else []
        assert ros.spin_until(lambda: all(topic.get_subscription_count() for topic in heard)), self.process.output

    def tick(self, second: float) -> None:
        """The clock moves on, and everyone has heard of it."""
        for _ in range(3):
            self.clock.publish(Clock(clock=at(second).stamp))
            self.ros.spin_until(lambda: False, timeout=0.05)

    def say(self, second: float, text: str, **fields: object) -> None:
        self.answer.publish(Answer(header=at(second), question=WHERE.text, question_id=WHERE.id, text=text, **fields))


def test_everything_said_is_kept(ros: Any, tmp_path: Path) -> None:
    graph = Graph(ros, tmp_path / "run")
    graph.tick(1.25)
    graph.truth.publish(Annotation(header=at(1.0), question=WHERE.text, question_id=WHERE.id, answer="left"))
    graph.tick(1.25)
    graph.say(1.0, "left", frame_age=0.1, inference_time=0.08, context_used=True, context_stamp=at(0.0).stamp)
    graph.overlay.publish(to_image(at(1.0), np.full((48, 64, 3), (200, 20, 20), np.uint8), "rgb8"))
    graph.context.publish(CloudContext(header=at(0.0), status=CloudContext.STATUS_TIMEOUT, question=WHERE.text))
    graph.metrics.publish(Metrics(node="edge_node", frames_seen=7))
    lines = tmp_path / "run" / "answers.jsonl"
    assert ros.spin_until(lambda: lines.exists() and lines.read_text()), graph.process.output
    graph.tick(1.25)
    assert graph.process.interrupt() == 0

    line = json.loads(lines.read_text())
    assert (line["text"], line["truth"], line["context_stamp"]) == ("left", "left", START * 10**9)
    assert line["stamp"] == START * 10**9 + 10**9
    assert 1.25 <= (line["published"] - START * 10**9) / 1e9 < 2.0
    recording = read_recording(tmp_path / "run" / "bag")
    assert [json.loads(answer.line()) for answer in recording.answers] == [line]
    assert [context.status for context in recording.contexts] == ["timeout"]
    assert [truth.answer for truth in recording.truths] == ["left"]
    assert recording.metrics["edge_node"]["frames_seen"] == 7
    ((_, picture),) = frames(tmp_path / "run" / "overlay.mp4", [line["stamp"]])
    assert picture[24, 32, 0] > 150 > picture[24, 32, 2]


def test_a_question_from_before_the_clock_began_is_kept_with_its_first_time(ros: Any, tmp_path: Path) -> None:
    graph = Graph(ros, tmp_path / "run", overlay=False)
    graph.tick(2.0)
    graph.say(2.0, "left")
    graph.say(2.2, "left")
    assert ros.spin_until(lambda: (tmp_path / "run/answers.jsonl").read_text()), graph.process.output
    graph.process.interrupt()
    with BagReader(tmp_path / "run" / "bag") as bag:
        first = next(iter(bag.records()))
        assert (first.topic, first.stamp) == ("/question", (START + 2) * 10**9)
        assert bag.deserialize(first).text == WHERE.text


def test_a_ground_truth_that_comes_after_the_answer_is_kept_with_it(ros: Any, tmp_path: Path) -> None:
    graph = Graph(ros, tmp_path / "run", overlay=False)
    graph.tick(1.0)
    graph.say(1.0, "left")
    graph.tick(1.0)
    graph.truth.publish(Annotation(header=at(1.0), question=WHERE.text, question_id=WHERE.id, answer="right"))
    lines = tmp_path / "run" / "answers.jsonl"
    assert ros.spin_until(lines.read_text), graph.process.output
    assert json.loads(lines.read_text())["truth"] == "right"


def test_an_overlay_that_is_no_image_ends_nothing(ros: Any, tmp_path: Path) -> None:
    graph = Graph(ros, tmp_path / "run")
    graph.tick(1.0)
    graph.overlay.publish(Image(header=at(1.0), encoding="bgr8", width=9, height=9, step=27))
    graph.tick(1.0)
    graph.say(1.0, "left")
    graph.say(1.2, "left")
    assert ros.spin_until(lambda: (tmp_path / "run/answers.jsonl").read_text()), graph.process.output
    assert graph.process.interrupt() == 0
    assert "1 overlay frames were left out" in graph.process.output
    assert len(read_recording(tmp_path / "run" / "bag").answers) == 2


def test_a_bag_that_is_there_already_is_refused_in_one_line(ros: Any, tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    process = ros.run_node("recorder_node", folder=str(tmp_path))
    assert process.wait() == 2
    assert process.lines[-1].startswith(f"error: bag {tmp_path / 'bag'}: cannot be written")


def test_where_rclpy_does_not_say_when_a_message_was_sent_it_is_when_it_was_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(recorder_node.Subscription, "CallbackType")
    told: list[tuple[str, dict[str, int]]] = []
    before = time.time_ns()
    recorder_node._with_info(lambda message, info: told.append((message, info)))("hello")
    assert told[0][0] == "hello"
    assert before <= told[0][1]["source_timestamp"] <= time.time_ns()

# SPDX-License-Identifier: Apache-2.0
"""The recorder as a process in a real graph: what is said is on the disk, and nothing that is said ends it."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from conftest import TIMEOUT
from edgevlm_msgs.msg import Annotation, Answer, CloudContext, Metrics
from edgevlm_msgs.msg import Question as QuestionMsg
from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bags import BagReader
from edgevlm_ros.evaluation.recording import read_recording
from edgevlm_ros.evaluation.video import frames
from edgevlm_ros.images import to_image
from edgevlm_ros.nodes import qos, recorder_node
from edgevlm_ros.record import Limits, Record
from edgevlm_ros.transfer.types import Question

START = 1_700_000_000
WHERE = Question("Where is the person?")


def at(second: float) -> Header:
    return Header(stamp=Time(sec=START + int(second), nanosec=round(second % 1 * 1e9)), frame_id="camera")


class Graph:
    """Publishers of all that the recorder listens to, and a recorder that has found them."""

    def __init__(self, ros: Any, folder: Path, **parameters: object) -> None:
        self.ros, self.node, self.folder = ros, ros.node(), folder
        self._probes = 0
        self.clock = self.node.create_publisher(Clock, "/clock", qos.EVENTS)
        self.question = self.node.create_publisher(QuestionMsg, "question", qos.LATCHED)
        self.truth = self.node.create_publisher(Annotation, "ground_truth", qos.EVENTS)
        self.answer = self.node.create_publisher(Answer, "answer", qos.EVENTS)
        self.context = self.node.create_publisher(CloudContext, "context", qos.EVENTS)
        self.metrics = self.node.create_publisher(Metrics, "metrics", qos.EVENTS)
        self.overlay = self.node.create_publisher(Image, "focus/overlay", qos.EVENTS)
        self.question.publish(QuestionMsg(text=WHERE.text, question_id=WHERE.id))
        given = {"use_sim_time": True, "min_free": 0.0, "flush_period": 0.05, **parameters}
        self.process = ros.run_node("recorder_node", folder=str(folder), **given)
        heard = [self.truth, self.answer, self.context, self.metrics]
        heard += [self.clock] if given["use_sim_time"] else []
        heard += [self.overlay] if given.get("overlay") else []
        assert ros.spin_until(lambda: all(topic.get_subscription_count() for topic in heard)), self.process.output

    def begin(self, second: float) -> None:
        """The clock shows that second, and the recorder keeps what it hears."""

        def kept() -> int:
            self.clock.publish(Clock(clock=at(second).stamp))
            self._probe()
            return last_probe(self.folder / "bag")

        assert self.ros.spin_until(kept), self.process.output

    def kept(self, topic: str, messages: int = 1) -> None:
        """So many messages are on the disk."""
        assert self.ros.spin_until(lambda: count(self.folder / "bag", topic) >= messages), self.process.output

    def lines(self) -> list[str]:
        """Whole ones of answers.jsonl, as soon as there are any."""
        file = self.folder / "answers.jsonl"
        assert self.ros.spin_until(lambda: "\n" in file.read_text()), self.process.output
        return file.read_text().splitlines()

    def filmed(self) -> None:
        """All pictures that were published have been taken: of the video nothing is on the disk until it ends."""
        assert self.overlay.wait_for_all_acked(Duration(seconds=TIMEOUT))
        for _ in range(2):  # whoever takes the second one has ended the round in which the pictures were there
            number = self._probe()
            assert self.ros.spin_until(lambda number=number: last_probe(self.folder / "bag") >= number)

    def _probe(self) -> int:
        self._probes += 1
        self.metrics.publish(Metrics(node="test", frames_seen=self._probes))
        return self._probes

    def say(self, second: float, text: str, **fields: object) -> None:
        self.answer.publish(Answer(header=at(second), question=WHERE.text, question_id=WHERE.id, text=text, **fields))


def recorder(ros: Any, folder: Path, *remappings: str, **parameters: object) -> recorder_node.RecorderNode:
    """One in this process, in the wall's time."""
    given = {"folder": str(folder), "flush_period": 0.05, "min_free": 0.0, **parameters}
    node: recorder_node.RecorderNode = ros.add(
        recorder_node.RecorderNode(
            context=ros.context,
            cli_args=["--ros-args", *(word for rule in remappings for word in ("-r", rule))],
            parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
        )
    )
    return node


def heard_health(ros: Any, folder: Path) -> list[DiagnosticStatus]:
    """What the recorder into this folder says of itself from now on."""
    heard: list[DiagnosticStatus] = []

    def hear(array: DiagnosticArray) -> None:
        heard.extend(status for status in array.status if KeyValue(key="folder", value=str(folder)) in status.values)

    ros.node("listener").create_subscription(DiagnosticArray, "/diagnostics", hear, qos.EVENTS)
    return heard


def count(bag: Path, topic: str) -> int:
    """Messages that can be read, while it is written too."""
    try:
        with BagReader(bag) as reader:
            return sum(1 for _ in reader.records(topics=[topic]))
    except BagError:
        return 0


def last_probe(bag: Path) -> int:
    """Of Graph's, its number; 0 without one on the disk."""
    try:
        with BagReader(bag) as reader:
            metrics = map(reader.deserialize, reader.records(topics=["/metrics"]))
            return max((each.frames_seen for each in metrics if each.node == "test"), default=0)
    except BagError:
        return 0


def test_everything_said_is_kept(ros: Any, tmp_path: Path) -> None:
    graph = Graph(ros, tmp_path / "run", overlay=True)
    began = time.monotonic()
    graph.begin(1.25)
    graph.truth.publish(Annotation(header=at(1.0), question=WHERE.text, question_id=WHERE.id, answer="left"))
    graph.kept("/ground_truth")
    graph.say(1.0, "left", frame_age=0.1, inference_time=0.08, context_used=True, context_stamp=at(0.0).stamp)
    graph.overlay.publish(to_image(at(1.0), np.full((48, 64, 3), (200, 20, 20), np.uint8), "rgb8"))
    graph.context.publish(CloudContext(header=at(0.0), status=CloudContext.STATUS_TIMEOUT, question=WHERE.text))
    graph.metrics.publish(Metrics(node="edge_node", frames_seen=7))
    (written,) = graph.lines()
    elapsed = time.monotonic() - began
    graph.kept("/context")
    graph.filmed()
    assert graph.process.interrupt() == 0

    line = json.loads(written)
    assert (line["text"], line["truth"], line["context_stamp"]) == ("left", "left", START * 10**9)
    assert line["stamp"] == START * 10**9 + 10**9
    assert 1.25 <= (line["published"] - START * 10**9) / 1e9 <= 1.25 + elapsed
    recording = read_recording(tmp_path / "run" / "bag")
    assert [json.loads(answer.line()) for answer in recording.answers] == [line]
    assert [context.status for context in recording.contexts] == ["timeout"]
    assert [truth.answer for truth in recording.truths] == ["left"]
    assert recording.metrics["edge_node"]["frames_seen"] == 7
    ((_, picture),) = frames(tmp_path / "run" / "overlay.mp4", [line["stamp"]])
    assert picture[24, 32, 0] > 150 > picture[24, 32, 2]


def test_a_question_from_before_the_clock_began_is_kept_with_its_first_time(ros: Any, tmp_path: Path) -> None:
    graph = Graph(ros, tmp_path / "run")
    graph.begin(2.0)
    graph.kept("/question")  # what is latched may be heard after what was published later
    assert graph.process.interrupt() == 0
    with BagReader(tmp_path / "run" / "bag") as bag:
        (question,) = bag.records(topics=["/question"])
        assert question.stamp == (START + 2) * 10**9
        assert bag.deserialize(question).text == WHERE.text


def test_a_ground_truth_that_comes_after_the_answer_is_kept_with_it(ros: Any, tmp_path: Path) -> None:
    graph = Graph(ros, tmp_path / "run")
    graph.begin(1.0)
    graph.say(1.0, "left")
    graph.kept("/answer")
    graph.truth.publish(Annotation(header=at(1.0), question=WHERE.text, question_id=WHERE.id, answer="right"))
    (line,) = graph.lines()
    assert json.loads(line)["truth"] == "right"


def test_an_overlay_that_is_no_image_ends_nothing(ros: Any, tmp_path: Path) -> None:
    graph = Graph(ros, tmp_path / "run", overlay=True)
    graph.begin(1.0)
    graph.overlay.publish(Image(header=at(1.0), encoding="bgr8", width=9, height=9, step=27))
    graph.filmed()
    graph.say(1.0, "left")
    graph.say(1.2, "left")
    graph.kept("/answer", 2)
    assert graph.process.interrupt() == 0
    assert "1 overlay frames were left out" in graph.process.output
    assert len(read_recording(tmp_path / "run" / "bag").answers) == 2


def test_a_bag_that_is_there_already_is_refused_in_one_line(ros: Any, tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    process = ros.run_node("recorder_node", folder=str(tmp_path))
    assert process.wait() == 2
    assert process.lines[-1].startswith(f"error: bag {tmp_path / 'bag'}: cannot be written")


def test_all_but_the_last_moment_before_kill_9_can_be_read(ros: Any, tmp_path: Path) -> None:
    graph = Graph(ros, tmp_path / "run", use_sim_time=False, flush_period=0.2)
    bag, said = tmp_path / "run" / "bag", 5
    for number in range(said):
        graph.say(number / 10, str(number))
    graph.kept("/answer", said)  # nothing but the flush brings it there
    for more in range(said, said + 10):
        graph.say(more / 10, str(more))
    graph.process.kill()
    texts = [answer.text for answer in read_recording(bag).answers]
    assert texts == [str(number) for number in range(len(texts))]
    assert said <= len(texts) <= said + 10
    lines = (tmp_path / "run" / "answers.jsonl").read_text().splitlines()
    assert len(lines) >= said - 1, "the newest answer waits for its ground truth"


def test_when_the_disk_takes_no_more_it_says_so_and_the_edge_node_goes_on(
    ros: Any, tmp_path: Path, tiny_model: Path
) -> None:
    health = heard_health(ros, tmp_path)
    node, answers = ros.node(), []
    camera = node.create_publisher(Image, "image", qos.EVENTS)
    node.create_subscription(Answer, "answer", answers.append, qos.EVENTS)
    edge = ros.run_node("edge_node", model=str(tiny_model), device="cpu", threads=1, question=WHERE.text)
    process = ros.run_node("recorder_node", folder=str(tmp_path), min_free=0.0, flush_period=0.1)
    picture = to_image(at(1.0), np.full((48, 64, 3), 90, np.uint8), "rgb8")

    def film(until: Any) -> bool:
        def filmed() -> object:
            camera.publish(picture)
            return until()

        return bool(ros.spin_until(filmed))

    assert film(lambda: count(tmp_path / "bag", "/answer") > 2), edge.output + process.output
    # no file of the recorder's may grow any more: the error of a full disk, without one
    resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (1, 1))
    kept = count(tmp_path / "bag", "/answer")
    assert film(lambda: health and health[-1].level == DiagnosticStatus.ERROR), process.output
    assert health[-1].message.startswith("recording stopped: ")
    assert f"can be read in {tmp_path / 'bag'}" in health[-1].message
    before = len(answers)
    assert film(lambda: len(answers) > before + 5), "it answers on"
    assert count(tmp_path / "bag", "/answer") >= kept > 2
    assert [line for line in process.lines if "recording stopped" in line and "ERROR" in line] != []
    assert process.interrupt() == 1
    assert len([line for line in process.lines if "recording stopped" in line]) == 1, "it is told once"


def test_a_folder_that_cannot_be_written_is_told_and_ends_nothing(ros: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    health = heard_health(ros, tmp_path / "file" / "run")
    node = recorder(ros, tmp_path / "file" / "run")
    assert ros.spin_until(lambda: health)
    assert health[0].level == DiagnosticStatus.ERROR
    assert "Not a directory" in health[0].message
    assert node.close() == 1


def test_several_cameras_are_one_bag_and_lines_for_each(ros: Any, tmp_path: Path) -> None:
    node = ros.node()
    recorder(ros, tmp_path, cameras=["front", "rear"])
    for camera in ("front", "rear"):
        topic = node.create_publisher(Answer, f"{camera}/answer", qos.EVENTS)
        assert ros.spin_until(topic.get_subscription_count)
        for second in (1, 2):
            topic.publish(Answer(header=at(second), text=camera))
    assert ros.spin_until(
        lambda: count(tmp_path / "bag", "/front/answer") + count(tmp_path / "bag", "/rear/answer") > 3
    )
    assert ros.spin_until(lambda: count(tmp_path / "bag", "/diagnostics")), "how the nodes are is kept too"
    for camera in ("front", "rear"):
        lines = tmp_path / camera / "answers.jsonl"
        assert ros.spin_until(lambda lines=lines: "\n" in lines.read_text())
        line = json.loads(lines.read_text().splitlines()[0])
        assert line["text"] == camera


def test_images_are_kept_if_asked_for_from_beside_the_remapped_topic(ros: Any, tmp_path: Path) -> None:
    health = heard_health(ros, tmp_path)
    recorder(ros, tmp_path, "image:=/cam/image_raw", images=True)
    assert ros.spin_until(lambda: health)
    assert health[0].level == DiagnosticStatus.WARN
    assert "nobody publishes /cam/image_raw/compressed" in health[0].message
    node = ros.node()
    camera = node.create_publisher(CompressedImage, "/cam/image_raw/compressed", qos.NEWEST_IMAGE)
    info = node.create_publisher(CameraInfo, "/cam/camera_info", qos.EVENTS)
    assert ros.spin_until(lambda: camera.get_subscription_count() and info.get_subscription_count())

    def kept() -> bool:
        camera.publish(CompressedImage(header=at(1.0), format="jpeg", data=b"\xff\xd8"))
        info.publish(CameraInfo(header=at(1.0), width=64))
        return bool(
            count(tmp_path / "bag", "/cam/image_raw/compressed") and count(tmp_path / "bag", "/cam/camera_info")
        )

    assert ros.spin_until(kept)
    assert ros.spin_until(lambda: health[-1].level == DiagnosticStatus.OK)


def test_without_being_asked_no_image_is_heard(ros: Any, tmp_path: Path) -> None:
    node = recorder(ros, tmp_path)
    heard = {name for name, _ in node.get_subscriber_names_and_types_by_node("recorder_node", "/")}
    assert not [name for name in heard if "image" in name or "overlay" in name]


def test_the_time_is_put_into_the_folders_name(ros: Any, tmp_path: Path) -> None:
    node = recorder(ros, tmp_path / "%Y" / "run")
    node.close()
    (folder,) = tmp_path.iterdir()
    assert int(folder.name) > 2000
    assert (folder / "run" / "bag" / "metadata.yaml").exists()


def test_a_disk_that_is_slower_than_what_is_said_is_a_warning(tmp_path: Path) -> None:
    record = Record(tmp_path, "mcap", [], [], Limits(min_free=0.0))
    assert recorder_node.health(record, []) == (DiagnosticStatus.OK, f"recording into {tmp_path}")
    record.lost = 3
    assert recorder_node.health(record, [])[1] == "the disk is too slow: 3 messages are not recorded"
    record.close()
    record._last_flush -= 60.0
    level, told = recorder_node.health(record, [])
    assert level == DiagnosticStatus.WARN
    assert told.startswith("the disk has taken nothing for ")

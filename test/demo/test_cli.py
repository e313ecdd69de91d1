# SPDX-License-Identifier: Apache-2.0
"""The demo end to end: real processes over DDS, a real LVLM server that is killed on the way, real files at the end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.bag_types import typestore
from edgevlm_ros.bag_writer import BagWriter
from edgevlm_ros.bags import BagReader
from edgevlm_ros.evaluation.recording import read_recording
from edgevlm_ros.images import to_jpeg
from support.tiny_lvlm import make_tiny_lvlm
from support.tiny_svlm import make_tiny_svlm

START = 1_700_000_000 * 10**9
QUESTION = "Where is the person?"
SECONDS = 30
KILLED = (4.0, 6.0)
ASKED_AGAIN_S = 10.0  # in which a cloud that is back is asked and replies: a probe each second, a reply takes 0.1 s


def write_bag(path: Path, seconds: float, images: bool = True) -> Path:
    """A camera at 5 Hz, a question, and ground truth for it."""
    types = typestore().types
    question = zlib.crc32(QUESTION.encode())
    picture = np.random.default_rng(3).integers(0, 255, (15, 20, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with BagWriter(path) as bag:
        bag.add_topic("/question", "edgevlm_msgs/msg/Question", latched=True)
        for frame in range(int(seconds * 5)):
            stamp = START + frame * 200_000_000
            header = types["std_msgs/msg/Header"](
                types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9), "camera"
            )
            if not frame:
                asked = types["edgevlm_msgs/msg/Question"](header, question, QUESTION)
                bag.write_message("/question", asked, stamp)
            if images:
                jpeg = np.frombuffer(to_jpeg(np.roll(picture, frame * 4, 1)), np.uint8)
                image = types["sensor_msgs/msg/CompressedImage"](header, "jpeg", jpeg)
                bag.write_message("/camera/jpeg", image, stamp)
            truth = types["edgevlm_msgs/msg/Annotation"](header, question, QUESTION, "left", [])
            bag.write_message("/ground_truth", truth, stamp)
    return path


def demo(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgevlm_ros.cli", "demo", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The options for tiny models: the edge's says anything, the cloud's always 'left'."""
    folder = tmp_path_factory.mktemp("models")
    tiny = (
        "--set=edge_node.max_new_tokens=3",
        "--set=edge_node.threads=1",
        "--set=cloud_bridge_node.keyframe_period=1.0",
        "--set=cloud_bridge_node.breaker.longest_pause=1.0",
    )
    return "--model", make_tiny_svlm(folder / "svlm"), "--cloud-model", make_tiny_lvlm(folder / "lvlm"), *tiny


class Finished(NamedTuple):
    """A demo: its folder, what it printed, and the wall time at which its cloud was seen to listen again."""

    out: Path
    printed: str
    back: float


def seen_back(log: Path, process: subprocess.Popen[str]) -> float:
    """When a server's log tells of its second start; infinite if it does not before the process ends."""
    while process.poll() is None:
        if log.exists() and log.read_text(errors="replace").count("Uvicorn running") > 1:
            return time.time()
        time.sleep(0.1)
    return math.inf


@pytest.fixture(scope="module")
def finished(models: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One whole demo, in which the cloud is killed and comes back."""
    folder = tmp_path_factory.mktemp("demo")
    bag = write_bag(folder / "camera", SECONDS)
    outage = ",".join(map(str, KILLED))
    process = demo("--source", bag, "--out", folder / "out", "--outage", outage, *models)
    with ThreadPoolExecutor(1) as watcher:
        back = watcher.submit(seen_back, folder / "out" / "logs" / "lvlm_server.log", process)
        printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, printed + errors
    return Finished(folder / "out", printed, back.result())


@pytest.mark.timeout(400)
def test_every_result_is_there(finished: Finished) -> None:
    out, printed = finished.out, finished.printed
    results = ("answers.jsonl", "bag/metadata.yaml", "overlay.mp4", "overlay.jpg", "report.html", "summary.json")
    assert [name for name in results if not (out / name).stat().st_size] == []
    assert str(out / "report.html") in printed
    summary = json.loads((out / "summary.json").read_text())
    assert summary["frames"]["in_source"] == SECONDS * 5
    assert 0 < summary["frames"]["seen"] <= SECONDS * 5, "images are best effort"
    assert summary["cloud"]["replies"]["ok"] > 0
    assert summary["contexts"]["applied"] > 0
    assert summary["streaming_accuracy"]["overall"]["count"] == SECONDS * 5
    assert summary["parameters"]["edge_node"]["max_new_tokens"] == 3
    assert summary["note"] == ""


def test_a_line_for_every_answer_with_its_ground_truth(finished: Finished) -> None:
    out = finished.out
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == json.loads((out / "summary.json").read_text())["frames"]["answered"]
    assert {line["question"] for line in lines} == {QUESTION}
    assert {line["truth"] for line in lines} == {"left"}
    assert all(line["published"] > line["stamp"] - 100_000_000 for line in lines)


def test_a_cloud_killed_on_the_way_comes_back_by_itself(finished: Finished) -> None:
    contexts = read_recording(finished.out / "bag").contexts
    good = [(context.published - START) / 1e9 for context in contexts if context.status == "ok"]
    bad = {context.status for context in contexts if context.status != "ok"}
    assert good
    assert bad & {"unreachable", "rejected"}
    spoken = (finished.out / "answers.jsonl").stat().st_mtime  # when the last answer was written, near the bag's end
    if spoken - finished.back < ASKED_AGAIN_S:
        pytest.skip("this machine is too busy to load the server again well before the bag's end")
    assert max(good) > KILLED[1]


def test_the_edge_answers_on_while_the_cloud_is_dead(finished: Finished) -> None:
    answers = read_recording(finished.out / "bag").answers
    dead = [a for a in answers if START + KILLED[0] * 1e9 < a.stamp < START + KILLED[1] * 1e9]
    assert len(dead) > 1, "of ten frames, which are best effort"


def test_the_bag_of_results_holds_no_images(finished: Finished) -> None:
    with BagReader(finished.out / "bag") as bag:
        assert {topic.name for topic in bag.topics.values() if topic.count} >= {
            "/answer",
            "/context",
            "/focus",
            "/metrics",
        }
        assert not any("Image" in topic.type for topic in bag.topics.values())


@pytest.mark.timeout(300)
def test_a_folder_of_images_is_asked_the_given_question_without_a_cloud(
    models: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(10):
        picture = to_jpeg(np.full((60, 80, 3), 20 * number, np.uint8))
        (tmp_path / "pictures" / f"{number}.jpg").write_bytes(picture)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("not the demo's")
    asked = "Is the door open?"
    process = demo(
        "--source", tmp_path / "pictures", "--out", tmp_path / "out", "--no-cloud", "--question", asked, *models
    )
    printed, errors = process.communicate(timeout=200)
    assert process.returncode == 0, printed + errors
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["cloud"]["requests"] == 0
    assert summary["streaming_accuracy"]["reason"] == "the source has no ground truth"
    assert {answer.question for answer in read_recording(tmp_path / "out" / "bag").answers} == {asked}
    assert (tmp_path / "out" / "mine.txt").exists()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("victim", "code", "message"),
    [("demo", 130, "stopped: nothing is left running"), ("edge_node", 1, "error: edge_node was ended by signal 9: ")],
)
def test_ctrl_c_and_a_crash_leave_nothing_running(
    victim: str, code: int, message: str, models: tuple[object, ...], tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "camera", 60)
    process = demo("--source", bag, "--out", tmp_path / "out", *models)
    assert process.stdout is not None
    assert any(line.startswith("playing") for line in process.stdout), process.communicate()
    children = _children(process.pid)
    assert len(children) >= 4
    if victim == "demo":
        process.send_signal(signal.SIGINT)
    else:
        os.kill(next(pid for pid, command in children.items() if victim in command), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert message in errors
    end = time.monotonic() + 60
    while time.monotonic() < end and any(Path(f"/proc/{pid}").exists() for pid in children):
        time.sleep(0.1)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def _children(pid: int) -> dict[int, str]:
    """Command lines by process id."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            children += map(int, (task / "children").read_text().split())
    return {child: Path(f"/proc/{child}/cmdline").read_text() for child in children}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "/no/such/bag"], "/no/such/bag: no such file or folder"),
        (["--source", "{dark}"], "no images; it has /question"),
        (["--model", "/no/such/model"], "model '/no/such/model': no such folder"),
        (["--cloud-url", "http://127.0.0.1:9/v1"], "--cloud-url http://127.0.0.1:9/v1: nothing answers there"),
        (["--set", "camera.x=1"], "--set camera.x=1: it takes NODE.NAME=VALUE"),
        (["--rate", "0"], "--rate 0: it takes more than 0"),
        (["--no-cloud", "--outage", "1,2"], "--outage kills the demo's own cloud server"),
        (["--source", "{out}/bag"], "is what an earlier demo left"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    arguments: list[str], message: str, models: tuple[object, ...], tmp_path: Path
) -> None:
    places = {"dark": write_bag(tmp_path / "dark", 1, images=False), "out": tmp_path / "out"}
    bag = write_bag(tmp_path / "camera", 1)
    words = [word.format(**places) for word in arguments]
    process = demo("--source", bag, "--out", tmp_path / "out", *models, *words)
    printed, errors = process.communicate(timeout=150)
    assert process.returncode == 2, errors
    assert errors.count("\n") == 1
    assert message in errors
    assert printed == ""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("edge_node.focus.mode=telepathy", "focus mode 'telepathy': 'telepathy' is none of attention, prune, crop"),
        ("edge_node.focus.mod=none", "edge_node has no parameter 'focus.mod' (did you mean 'focus.mode'?)"),
    ],
)
def test_a_parameter_that_cannot_be_ends_it_at_once(
    setting: str, message: str, models: tuple[object, ...], tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "camera", 5)
    process = demo("--source", bag, "--out", tmp_path / "out", "--no-cloud", *models, "--set", setting)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 2, errors
    assert errors.count("\n") == 1
    assert message in errors

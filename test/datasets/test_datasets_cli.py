# SPDX-License-Identifier: Apache-2.0
"""Tiny files in each dataset's own format become bags that the evaluation reads."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from edgevlm_ros import cli
from edgevlm_ros.bags import BagReader
from edgevlm_ros.datasets import bddx, drivelm
from edgevlm_ros.datasets.clip import EPOCH
from edgevlm_ros.datasets.tables import csv_rows
from edgevlm_ros.evaluation.annotated_frames import annotated_frames
from edgevlm_ros.evaluation.problems import Problems
from edgevlm_ros.evaluation.streams import Stream, find_streams, open_stream

START = 1_532_402_927_000_000  # microseconds, as nuScenes counts
CAR = "<c1,CAM_FRONT,40.0,30.0>"
BUS = "<c2,CAM_BACK,40.0,30.0>"


def picture(path: Path, grey: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((90, 160, 3), grey, np.uint8))


def video(path: Path, seconds: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 160, 80, "yuv420p"
        for _ in range(5 * seconds):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.full((80, 160, 3), 80, np.uint8), format="rgb24"))
            )
        container.mux(stream.encode())
    return path


@pytest.fixture
def nuscenes(tmp_path: Path) -> Path:
    """Two scenes of two keyframes each, with a sweep between them, and a lidar that is no camera."""
    root = tmp_path / "nuscenes"
    tables: dict[str, list[dict[str, Any]]] = {
        "scene": [{"token": f"s{i}", "name": f"scene-000{i}"} for i in (1, 2)],
        "sample": [{"token": f"s{i}k{k}", "scene_token": f"s{i}"} for i in (1, 2) for k in (0, 1)],
        "sensor": [{"token": "front", "channel": "CAM_FRONT"}, {"token": "top", "channel": "LIDAR_TOP"}],
        "calibrated_sensor": [
            {"token": "cf", "sensor_token": "front", "camera_intrinsic": [[100, 0, 80], [0, 100, 45], [0, 0, 1]]},
            {"token": "ct", "sensor_token": "top", "camera_intrinsic": []},
        ],
        "sample_data": [],
    }
    for i in (1, 2):
        for at, sample, key in ((0, 0, True), (250, 1, False), (500, 1, True)):
            name = f"{'samples' if key else 'sweeps'}/CAM_FRONT/n{i}_{at}.jpg"
            picture(root / name)
            stamp = START + i * 60_000_000 + at * 1000
            row = {"token": name, "sample_token": f"s{i}k{sample}", "timestamp": stamp, "is_key_frame": key}
            lidar = {"token": f"l{name}", "calibrated_sensor_token": "ct", "filename": "samples/LIDAR_TOP/x.bin"}
            camera = {"calibrated_sensor_token": "cf", "filename": name}
            tables["sample_data"] += [row | camera, row | lidar]
    (root / "v1.0-mini").mkdir()
    for name, rows in tables.items():
        (root / "v1.0-mini" / f"{name}.json").write_text(json.dumps(rows))
    return root


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    def row(sample: str, question: str, answer: str, kind: str) -> dict[str, Any]:
        about = {"sample_token": sample, "question": question, "answer": answer}
        return about | {"template_type": kind, "num_hop": 0, "split": "val"}

    rows = [
        row("s1k0", "Are there any cars?", "yes", "exist"),
        row("s1k0", "How many buses are there?", "2", "count"),
        row("s1k1", "Are there any cars?", "no", "exist"),
        row("s2k1", "Are there any cars?", "yes", "exist"),
    ]
    path = tmp_path / "NuScenes_val_questions.json"
    path.write_text(json.dumps({"info": {}, "questions": rows}))
    return path


def convert(*words: str | Path) -> int:
    return cli.main(["convert", *map(str, words)])


def said(stream: Stream) -> list[tuple[float, str, str]]:
    return [((t.stamp - stream.stamps[0]) / 1e9, t.question.text, t.answer) for t in stream.truths]


def test_answers_of_nuscenes_qa_hold_from_their_keyframe_to_the_next(
    nuscenes: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bags"
    assert convert("nuscenes", nuscenes, "--version", "v1.0-mini", "--questions", questions, "--to", out) == 0
    assert "2 bags, 6 frames, 2 questions" in capsys.readouterr().out
    first, second = map(open_stream, find_streams([out]))
    assert (first.name, first.dataset) == ("nuscenes_0001", "nuscenes")
    cars = "Are there any cars?"
    assert said(first) == [(0.0, cars, "yes"), (0.25, cars, "yes"), (0.5, cars, "no")]
    assert said(second) == [(0.5, cars, "yes")]
    other = open_stream(out / "nuscenes_0001", question="How many buses are there?")
    assert [answer for *_, answer in said(other)] == ["2", "2"]


def test_intrinsics_of_nuscenes_follow_the_width(nuscenes: Path, questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "bag"
    options: list[str | Path] = [
        "--version",
        "v1.0-mini",
        "--questions",
        questions,
        "--limit",
        "1",
        "--width",
        "80",
        "--keyframes",
    ]
    assert convert("nuscenes", nuscenes, *options, "--to", out) == 0
    with BagReader(out) as bag:
        assert bag.topics["/image/compressed"].count == 2
        (info,) = [bag.deserialize(record) for record in bag.records(topics=["/camera_info"])]
    assert (info.width, info.height) == (80, 45)
    assert list(info.k) == [50, 0, 40, 0, 50, 22.5, 0, 0, 1]


def test_boxes_of_drivelm_are_on_the_keyframe_and_other_cameras_are_left_out(
    nuscenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = {
        "key_object_infos": {CAR: {"Category": "Vehicle", "Visual_description": "car", "2d_bbox": [20, 10, 60, 50.0]}},
        "QA": {
            "perception": [
                {"Q": f"What is the status of {CAR}?", "A": "Moving."},
                {"Q": f"Where is {BUS}?", "A": "Behind."},
            ],
            "behavior": [{"Q": "What does the ego car do?", "A": "It goes straight."}],
        },
    }
    file = tmp_path / "v1_1_train_nus.json"
    file.write_text(json.dumps({"s1": {"scene_description": "", "key_frames": {"s1k0": frame}}}))
    out = tmp_path / "bag"
    options: list[str | Path] = ["--version", "v1.0-mini", "--questions", file, "--types", "perception"]
    assert convert("drivelm", nuscenes, *options, "--width", "80", "--to", out) == 0
    assert "an object that CAM_FRONT does not see, left out: once" in capsys.readouterr().out
    keyframe, sweep, _ = annotated_frames(out, 3)
    (box,) = keyframe.regions
    assert (box.label, box.x0, box.y0, box.x1, box.y1) == ("car", 10, 5, 30, 25)
    assert (sweep.answer, sweep.regions) == ("Moving.", ())
    assert keyframe.question is not None
    assert keyframe.question.text == "What is the status of <c1,CAM_FRONT,2.0,1.5>?"  # 80 of nuScenes' 1600 pixels


def drivelm_frames(tmp_path: Path, questions: dict[str, Any]) -> Path:
    """One keyframe as DriveLM's challenge/data/train_sample.json has it."""
    empty = dict.fromkeys(("C", "con_up", "con_down", "cluster", "layer"))
    qa = {kind: [pair | empty for pair in pairs] for kind, pairs in questions.items()}
    frame = {"key_object_infos": {}, "QA": qa, "image_paths": {"CAM_FRONT": "../nuscenes/samples/CAM_FRONT/n1_0.jpg"}}
    file = tmp_path / "v1_1_train_nus.json"
    file.write_text(json.dumps({"s1": {"scene_description": "It stops.", "key_frames": {"s1k0": frame}}}))
    return file


TRAFFIC = {
    "Q": "Identify all the traffic elements in the front view, categorize them.",
    "A": "There are [(traffic light, green, 20.4, 0.14, 60.0, 50.0), (road sign, unknown, 80.0, -0.49, 99.0, 9.0)].",
}


def test_traffic_elements_of_drivelm_are_boxes_and_their_numbers_follow_the_width(
    nuscenes: Path, tmp_path: Path
) -> None:
    file = drivelm_frames(tmp_path, {"perception": [TRAFFIC]})
    options: list[str | Path] = ["--version", "v1.0-mini", "--questions", file, "--width", "80"]
    assert convert("drivelm", nuscenes, *options, "--to", tmp_path / "bag") == 0
    keyframe, sweep, _ = annotated_frames(tmp_path / "bag", 3)
    assert "(traffic light, green, 1.02, 0.01, 3.00, 2.50), (road sign, unknown, 4.00, -0.02," in keyframe.answer
    light, sign = keyframe.regions  # of the stored picture, which is 160 wide here
    assert (light.label, light.x0, light.y0, light.x1, light.y1) == ("traffic light, green", 10, 0, 30, 25)
    assert (sign.label, sign.x0, sign.y0) == ("road sign", 40, 0)
    assert not sweep.regions


def test_what_drivelm_asks_about_the_front_view_is_left_out_of_another_camera() -> None:
    problems = Problems()
    frame = {"QA": {"perception": [TRAFFIC, {"Q": "Is it day?", "A": "Yes."}]}}
    found = list(drivelm.frame_answers(frame, (0, 10), "CAM_BACK", ["perception"], 1.0, problems))
    assert [answer.question for answer in found] == ["Is it day?"]
    assert "front view, which CAM_BACK does not see, left out: once" in problems.lines()[0]


def bddx_file(path: Path, rows: list[list[str]]) -> Path:
    names = [f"Answer.{n}{what}" for n in range(1, 16) for what in ("start", "end", "action", "justification")]
    table = [["Input.Video", *names], *rows]
    path.write_text("\n".join(",".join(row + [""] * (61 - len(row))) for row in table))
    return path


def test_a_span_of_bddx_holds_its_last_second_unless_the_next_begins_in_it(tmp_path: Path) -> None:
    cells = ["0", "1", "It goes", "", "2", "3", "It slows", "", "3", "3", "It stops", "", "9", "8", "It flies", ""]
    (row,) = csv_rows(bddx_file(tmp_path / "a.csv", [["https://host/samples-1k/a.mov", *cells]]), ["Input.Video"])
    problems = Problems()
    found = [((a.since - EPOCH) / 1e9, (a.until - EPOCH) / 1e9, a.answer) for a in bddx.row_answers(row, 2, problems)]
    assert found == [(0, 2, "It goes"), (2, 3, "It slows"), (3, 4, "It stops")]
    assert problems.lines() == ("action without a span of time, left out: once (line 2, Answer.4)",)


def test_videos_of_bddx_are_numbered_and_chosen_as_its_lists_of_splits_name_them(tmp_path: Path) -> None:
    video(tmp_path / "06d5-c960.mov")
    video(tmp_path / "22b4-8ad8.mov")
    said = ["0", "2", "It goes", "it is green"]
    rows = [
        ["https://host/samples-1k/06d5-c960.mov", *said],
        [""],  # an annotator's row that was taken back
        ["https://host/train/01b0-5f56.mov", "", "", "It goes", ""],  # counted by nobody
        ["https://host/train/22b4-8ad8.mov", *said],
        ["https://host/train/06d5-c960.mov", *said],  # a second annotator
    ]
    file = bddx_file(tmp_path / "BDD-X-Annotations_v1.csv", rows)
    assert [clip.name for clip in bddx.clips(file, tmp_path, [], 5, Problems())] == ["bddx_00001", "bddx_00002"]
    (clip,) = bddx.clips(file, tmp_path, ["2_22b4-8ad8"], 5, Problems())
    assert clip.name == "bddx_00002"


def test_bddx_says_what_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video(tmp_path / "videos" / "06d5-c960.mov")
    cells = ["0", "2", "It slows", "the light is red", "2", "4", "It goes", "it is green", "x", "y", "lost", ""]
    rows = [["https://host/06d5-c960.mov", *cells], ["https://host/gone.mov", *cells]]
    file = bddx_file(tmp_path / "BDD-X-Annotations_v1.csv", rows)
    assert convert("bddx", file, "--videos", tmp_path / "videos", "--to", tmp_path / "bag") == 0
    told = capsys.readouterr().out
    assert "video that is not there, left out: once (gone)" in told
    assert "action without a span of time, left out: once (line 2, Answer.3)" in told
    assert {answer for *_, answer in said(open_stream(tmp_path / "bag"))} == {"It slows", "It goes"}
    why = said(open_stream(tmp_path / "bag", question=bddx.WHY))
    assert (why[0][2], why[-1][2]) == ("the light is red", "it is green")


def test_lingoqa_answers_hold_throughout_a_segment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [f"images/val/abc/{index}.jpg" for index in range(5)]
    for path in paths:
        picture(tmp_path / path)
    row = {"question_id": "q", "segment_id": "abc", "images": paths, "question": "Is it raining?", "answer": "No."}
    file = tmp_path / "val.json"
    file.write_text(json.dumps([row, row | {"answer": "No, it is dry."}]))
    assert convert("lingoqa", file, "--to", tmp_path / "bag") == 0
    assert "second, different answer to a question about a frame, left out: 5 times" in capsys.readouterr().out
    assert [(t, answer) for t, _, answer in said(open_stream(tmp_path / "bag"))] == [
        (float(t), "No.") for t in range(5)
    ]


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "val.parquet").write_bytes(b"PAR1")
    assert convert("lingoqa", tmp_path / "val.parquet", "--to", tmp_path / "bag") == 2
    assert "pip install pyarrow" in capsys.readouterr().err


def test_spreadsheet_about_a_video_becomes_truths_with_boxes(tmp_path: Path) -> None:
    file = tmp_path / "yard.csv"
    file.write_text("from,until,question,answer,label,box\n0,,Open?,no,,\n0:02,3,Open?,yes,gate,20 10 60 50\n")
    assert convert("video", video(tmp_path / "yard.mp4"), file, "--width", "80", "--to", tmp_path / "bag") == 0
    answers = said(open_stream(tmp_path / "bag"))
    assert [(round(5 * at), *rest) for at, *rest in answers] == [
        (i, "Open?", "no" if i < 10 else "yes") for i in range(15)
    ]
    boxes = [frame.regions for frame in annotated_frames(tmp_path / "bag", 20) if frame.regions]
    assert len(boxes) == 5
    assert (boxes[0][0].label, boxes[0][0].x0, boxes[0][0].y1) == ("gate", 10, 25)


@pytest.mark.parametrize(
    ("break_it", "words", "message"),
    [
        ("v1.0-mini/sample.json", [], "sample.json: cannot be read"),
        ("samples/CAM_FRONT/n1_0.jpg", [], "unpack the file blobs"),
        ("", ["--camera", "CAM_FRNT"], "did you mean 'CAM_FRONT'?"),
        ("", ["--scenes", "scene-0003"], "did you mean 'scene-000"),
        ("", ["--version", "v1.0-mni"], "did you mean 'v1.0-mini'?"),
        ("", ["--types", "exists"], "did you mean 'exist'?"),
        ("", ["--ask", "Are there cars?"], "near it: 'Are there any cars?'"),
    ],
)
def test_what_is_wrong_is_named_with_the_nearest(
    nuscenes: Path,
    questions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    break_it: str,
    words: list[str],
    message: str,
) -> None:
    if break_it:
        (nuscenes / break_it).unlink()
    out = tmp_path / "bags"
    options: list[str | Path] = ["--version", "v1.0-mini", "--questions", questions, *words]
    assert convert("nuscenes", nuscenes, *options, "--to", out) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("bags/**/*.mcap"))


def test_a_video_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "yard.mp4").write_bytes(b"nothing")
    (tmp_path / "yard.csv").write_text("time,question,answer\n0,Open?,no\n")
    assert convert("video", tmp_path / "yard.mp4", tmp_path / "yard.csv", "--to", tmp_path / "bag") == 2
    assert "neither a bag nor a video that can be opened" in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()

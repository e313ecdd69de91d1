# SPDX-License-Identifier: Apache-2.0
"""A bag as an evaluation needs it, and what comes of bags that have faults."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgevlm_ros.assets import bag_path
from edgevlm_ros.evaluation.streaming import Truth
from edgevlm_ros.evaluation.streams import FactValue, StreamError, dataset_of, find_streams, open_stream
from edgevlm_ros.transfer.types import Question
from support.small_bag import WHERE, SmallBag, at_5_hz, stamp, whole

WHO = "Who crosses?"


def test_the_bundled_bag_is_a_stream_without_problems() -> None:
    stream = open_stream(bag_path("demo"))
    assert (stream.name, stream.dataset, len(stream.stamps), len(stream.truths)) == ("demo", "demo", 300, 300)
    assert (stream.period, stream.duration, stream.problems, stream.facts) == (0.2, 60.0, (), {})
    assert [(since - stream.stamps[0]) / 1e9 for since, _ in stream.questions] == [0, 20, 40]
    assert stream.frame(stream.stamps[7]).image.shape == (480, 640, 3)


def test_frames_questions_and_truths_are_those_of_the_bag(tmp_path: Path) -> None:
    stream = open_stream(whole(tmp_path / "aisle_03"))
    assert (stream.name, stream.dataset) == ("aisle_03", "aisle")
    assert stream.stamps == tuple(map(stamp, at_5_hz(4)))
    assert stream.questions == ((stamp(0), Question(WHERE)),)
    assert stream.truths[-1] == Truth(stamp(3.8), Question(WHERE), "right")
    assert abs(int(stream.frame(stamp(1.0)).image.mean()) - 20) < 3
    with pytest.raises(KeyError):
        stream.frame(stamp(0.1))


def test_facts_are_known_by_their_frame(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        bag.question(0)
        for time in (0.0, 0.2, 0.4):
            bag.jpeg(time)
        bag.facts(0.2, ("role", "medic", 7, 0.125, False, True))
        bag.facts(0.4, ("role", "medic", 7, 0.125, False, True), question=WHO)
        bag.facts(9.0, ("role", "medic", 7, 0.125, False, True))
    stream = open_stream(tmp_path / "bag")
    assert stream.facts == {stamp(0.2): (FactValue("role", "medic", 7, 0.125, False, True),)}
    assert "facts about a question that does not stand, skipped: once (at 0.4 s)" in stream.problems
    assert "facts of a frame that is not there, skipped: once (at 9.0 s)" in stream.problems


def test_a_question_stands_from_the_first_frame_that_is_recorded_after_it(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        for time in at_5_hz(2):
            bag.jpeg(time)
        bag.question(0.5)
        bag.question(0.5, WHO)  # before another frame came
        bag.question(1.0, " ")
        bag.question(1.3)
        bag.question(1.5)
        bag.question(7.0, "Too late?")
    stream = open_stream(tmp_path / "bag")
    assert stream.questions == ((stamp(0.6), Question(WHO)), (stamp(1.4), Question(WHERE)))
    assert [stream.question_at(stamp(time)) for time in (0.4, 0.6, 9)] == [None, Question(WHO), Question(WHERE)]
    assert [line.partition(":")[0] for line in stream.problems] == [
        "question without words, skipped",
        "question after the last frame, skipped",
    ]


def test_gaps_are_named(tmp_path: Path) -> None:
    stream = open_stream(whole(tmp_path / "bag", [*at_5_hz(2), *(5 + time for time in at_5_hz(2))]))
    assert stream.problems == ("gap between two frames, nothing is answered in it: once (3.2 s at 1.8 s)",)
    assert len(stream.truths) == 20


def cut(folder: Path, share: float) -> Path:
    """The demo bag as it is when its recording breaks off."""
    shutil.copytree(bag_path("demo"), folder)
    (file,) = folder.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    return folder


def test_a_bag_without_a_whole_part_is_refused_with_a_way_to_mend_it(tmp_path: Path) -> None:
    with pytest.raises(
        StreamError, match=r"bag .*/bag: cannot be read: .*; if its recording broke off, .*mcap recover"
    ):
        open_stream(cut(tmp_path / "bag", 0.0))


@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_bag_that_breaks_off_is_a_stream_up_to_there(tmp_path: Path, share: float) -> None:
    whole_one = open_stream(bag_path("demo"))
    stream = open_stream(cut(tmp_path / "bag", share))
    assert 0 < len(stream.stamps) < len(whole_one.stamps)
    assert stream.stamps == whole_one.stamps[: len(stream.stamps)]


def test_a_bag_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"no such file or folder$"):
        open_stream(tmp_path / "bag")


def test_a_bag_without_questions_asks_for_one(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        for time in (0, 0.2, 0.4):
            bag.jpeg(time)
    with pytest.raises(StreamError, match=r"nothing is asked in it; name a question: --question"):
        open_stream(tmp_path / "bag")
    stream = open_stream(tmp_path / "bag", question="What is ahead?")
    assert (stream.questions, stream.truths) == (((stamp(0), Question("What is ahead?")),), ())


def test_truths_about_another_question_do_not_count(tmp_path: Path) -> None:
    stream = open_stream(whole(tmp_path / "bag"), question=WHO)
    assert stream.truths == ()
    assert stream.problems[0].startswith("truth about a question that does not stand, skipped: 20 times (at 0.0 s,")


def test_annotations_without_a_question_topic_ask_themselves(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        for time in at_5_hz(2):
            bag.jpeg(time)
            bag.truth(time, "left", WHERE if time < 1 else WHO)
    assert open_stream(tmp_path / "bag").questions == ((stamp(0), Question(WHERE)), (stamp(1), Question(WHO)))


def test_annotations_that_cannot_count_are_skipped(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        bag.question(0)
        for time in (0, 0.2, 0.4):
            bag.jpeg(time)
        bag.truth(0, "left")
        bag.truth(0, "right")
        bag.truth(0.1, "left")
        bag.truth(0.2, " ")
        bag.truth(0.4, "left", WHO)
    stream = open_stream(tmp_path / "bag")
    assert stream.truths == (Truth(stamp(0), Question(WHERE), "left"),)
    assert stream.problems == (
        "second annotation of a frame, with another answer, skipped: once (at 0.0 s)",
        "annotation of a frame that is not there, skipped: once (at 0.1 s)",
        "annotation without an answer, skipped: once (at 0.2 s)",
        "truth about a question that does not stand, skipped: once (at 0.4 s)",
    )


def annotated(folder: Path, *spans: tuple[float, float, str, str]) -> Path:
    names = ("from", "to", "question", "answer")
    (folder / "mine.jsonl").write_text("\n".join(json.dumps(dict(zip(names, span, strict=True))) for span in spans))
    return folder / "mine.jsonl"


def test_a_file_of_annotations_replaces_the_truths_of_the_bag(tmp_path: Path) -> None:
    file = annotated(
        tmp_path, (0.5, 1.0, "where is the person", "behind"), (1.01, 1.05, WHERE, "left"), (0, 9, WHO, "a")
    )
    stream = open_stream(whole(tmp_path / "bag"), annotations=file)
    assert stream.truths == tuple(Truth(stamp(time), Question(WHERE), "behind") for time in (0.6, 0.8))
    assert [line.partition(":")[0] for line in stream.problems] == [
        "annotation that reaches beyond the bag, cut off",
        "annotation between two frames, skipped",
        "truth about a question that does not stand, skipped",
    ]


def test_annotations_in_the_folder_of_the_bag_are_found(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        for time in at_5_hz(2):
            bag.jpeg(time)
    annotated(tmp_path, (0, 1, WHERE, "left"), (1, 2, WHO, "nobody")).rename(tmp_path / "bag" / "annotations.jsonl")
    stream = open_stream(tmp_path / "bag")
    assert stream.questions == ((stamp(0), Question(WHERE)), (stamp(1), Question(WHO)))
    assert (len(stream.truths), stream.problems) == (10, ())


def test_annotations_of_two_questions_at_once_need_one_that_is_chosen(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        for time in at_5_hz(2):
            bag.jpeg(time)
    file = annotated(tmp_path, (0, 2, WHERE, "left"), (0, 2, WHO, "nobody"))
    with pytest.raises(StreamError, match=r"two questions about one frame .* choose one with --question"):
        open_stream(tmp_path / "bag", annotations=file)
    assert len(open_stream(tmp_path / "bag", annotations=file, question=WHO).truths) == 10


def test_wrong_annotations_are_refused(tmp_path: Path) -> None:
    file = annotated(tmp_path, (2, 1, WHERE, "left"))
    with pytest.raises(StreamError, match=r"mine\.jsonl, line 1"):
        open_stream(whole(tmp_path / "bag"), annotations=file)
    with pytest.raises(StreamError, match=r"no\.jsonl: cannot be read"):
        open_stream(tmp_path / "bag", annotations=tmp_path / "no.jsonl")


@pytest.mark.parametrize("times", [[], [0.0]])
def test_a_bag_without_a_stream_is_refused(tmp_path: Path, times: list[float]) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        bag.question(0)
        for time in times:
            bag.jpeg(time)
    with pytest.raises(StreamError, match=r"only 1 frames|no images"):
        open_stream(tmp_path / "bag")


def test_a_bag_of_images_without_pixels_is_refused(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "bag") as bag:
        bag.question(0)
        for time in at_5_hz(1):
            bag.jpeg(time, data=b"no picture")
    with pytest.raises(StreamError, match=r"only 0 frames can be used .*neither JPEG nor PNG"):
        open_stream(tmp_path / "bag")


def test_a_lone_file_is_a_bag_like_its_folder(tmp_path: Path) -> None:
    folder = whole(tmp_path / "bag")
    (file,) = folder.glob("*.mcap")
    lone = file.rename(tmp_path / "drive.mcap")
    assert find_streams([lone]) == [lone]
    stream = open_stream(lone)
    assert (stream.name, len(stream.stamps), len(stream.truths), stream.problems) == ("drive", 20, 20, ())
    assert stream.frame(stamp(1.0)).image.shape == (48, 64, 3)


def test_a_file_of_a_bag_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = whole(tmp_path / "bag")
    metadata = folder / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("relative_file_paths:\n", "relative_file_paths:\n  - lost.mcap\n"))
    stream = open_stream(folder)
    assert len(stream.stamps) == 20
    assert stream.problems == ("part of the bag that cannot be read, left out: once (lost.mcap is missing)",)


@pytest.mark.parametrize(
    ("name", "dataset"), [("aisle_03", "aisle"), ("my_drive_2_11", "my_drive_2"), ("demo", "demo"), ("_1", "_1")]
)
def test_a_dataset_is_a_name_without_its_number(tmp_path: Path, name: str, dataset: str) -> None:
    (tmp_path / name).mkdir()
    assert dataset_of(tmp_path / name) == dataset


def test_streams_are_found_in_folders_of_folders(tmp_path: Path) -> None:
    bags = [whole(tmp_path / "test" / name, [0, 0.2]) for name in ("panel_00", "aisle_01", "aisle_00")]
    assert find_streams([tmp_path]) == sorted(bags)
    assert find_streams([bags[1], tmp_path / "test"]) == [bags[1], bags[2], bags[0]]
    (file,) = bags[0].glob("*.mcap")
    assert find_streams([file]) == [file]
    assert dataset_of(file) == "panel"


def test_a_folder_without_bags_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"no such bag or folder"):
        find_streams([tmp_path / "no"])
    with pytest.raises(StreamError, match=r"neither a rosbag2 nor a folder that holds one"):
        find_streams([tmp_path])

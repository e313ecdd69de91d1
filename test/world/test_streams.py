# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import shutil
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bags import BagReader
from edgevlm_ros.world import dataset as frames
from edgevlm_ros.world import questions as q
from edgevlm_ros.world.film import RATE, Moment
from edgevlm_ros.world.render import Renderer
from edgevlm_ros.world.scene import STYLES, Look, Scene
from edgevlm_ros.world.stream import STREAM_SEEDS
from edgevlm_ros.world.streams import FIRST_SEED, MOST, SECONDS, is_whole, render_streams, stream

SPLITS: tuple[Look, ...] = ("train", "val", "test")


def moments(dataset: str, number: int = 0, seconds: float = SECONDS) -> list[Moment]:
    return list(stream(dataset, "train", number).moments(seconds, RATE))


@pytest.mark.parametrize("dataset", q.DATASETS)
def test_a_stream_is_determined_by_its_dataset_split_and_number(dataset: str) -> None:
    def scenes(split: Look, number: int) -> list[dict[str, Any]]:
        return [asdict(moment.scene) for moment in stream(dataset, split, number).moments(2.0, RATE)]

    assert scenes("val", 3) == scenes("val", 3)
    assert scenes("val", 3) != scenes("val", 4)
    assert scenes("val", 3) != scenes("test", 3)


def test_no_seed_is_in_two_splits_nor_in_the_frames_nor_in_the_demo() -> None:
    streams = [(first, first + len(q.DATASETS) * MOST) for first in FIRST_SEED.values()]
    trained = [(frames.FIRST_SEED[s], frames.FIRST_SEED[s] + frames.SIZES[s] * frames.ATTEMPTS) for s in SPLITS]
    ranges = sorted([*streams, *trained, (STREAM_SEEDS, STREAM_SEEDS + 10_000)])
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ranges))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("dataset", q.DATASETS)
def test_a_stream_wears_its_splits_look(dataset: str, split: Look) -> None:
    hall = stream(dataset, split, 1).hall
    assert {hall.floor, hall.wall} <= set(STYLES[split].textures)


@pytest.mark.parametrize("dataset", q.DATASETS)
def test_one_question_stands_for_a_minute_at_five_frames_a_second(dataset: str) -> None:
    shown = moments(dataset)
    assert len(shown) == 300
    assert [moment.t for moment in shown[:3]] == [0.0, 0.2, 0.4]
    (question,) = {moment.question for moment in shown}
    assert question in q.TASKS


@pytest.mark.parametrize("dataset", q.DATASETS)
def test_nothing_in_view_jumps_between_two_frames(dataset: str) -> None:
    for before, after in itertools.pairwise(moments(dataset, 1)):
        old, new = before.scene.camera, after.scene.camera
        assert abs(new.x - old.x) < 0.15
        assert abs(new.yaw - old.yaw) < 0.32
        for subject, number in after.objects.items():
            if before.objects.get(subject) == number:
                was, now = getattr(before.scene, subject), getattr(after.scene, subject)
                assert abs(now.x - was.x) + abs(now.y - was.y) < 1.1, (subject, after.t)


@pytest.mark.parametrize("dataset", q.DATASETS)
def test_a_number_is_one_individual_for_the_whole_stream(dataset: str) -> None:
    known: dict[tuple[str, int], str] = {}
    for moment in moments(dataset, 2):
        told = q.told_by(moment.scene)
        for subject, name in (("cart", "load"), ("person", "role"), ("machine", "name"), ("second", "second name")):
            assert (subject in moment.objects) == (name in told)
            if name in told:
                individual = subject, moment.objects[subject]
                assert known.setdefault(individual, told[name]) == told[name]
    numbers = [number for _, number in known]
    assert min(numbers) == 1
    assert len(set(numbers)) == len(numbers)


def test_the_next_one_to_come_is_another_load_or_role() -> None:
    for dataset, subject, sign in (
        ("aisle", "cart", "load"),
        ("crossing", "person", "role"),
        ("gesture", "person", "role"),
    ):
        for number in range(4):
            told: dict[int, str] = {}
            for moment in moments(dataset, number):
                if subject in moment.objects:
                    told[moment.objects[subject]] = q.told_by(moment.scene)[sign]
            assert all(a != b for a, b in itertools.pairwise(told.values()))


def test_signs_and_lamps_change_within_seconds_while_their_owner_stays() -> None:
    for dataset, fact in (("gesture", "gesture"), ("panel", "state")):
        lasted = []
        stayed = []
        for number in range(4):
            shown = moments(dataset, number)
            subject = q.SUBJECT_OF[fact]
            values = [(m.objects.get(subject), getattr(getattr(m.scene, subject), fact, None)) for m in shown]
            lasted += [len(list(group)) / RATE for value, group in itertools.groupby(values) if value[0]]
            owners = itertools.groupby(values, key=lambda value: value[0])
            stayed += [len(list(group)) / RATE for owner, group in owners if owner]
        assert 1.0 < statistics.median(lasted) < 5.0
        assert statistics.mean(stayed) > 3 * statistics.mean(lasted)


def test_the_two_machines_of_a_panel_never_have_the_same_letter() -> None:
    for number in range(6):
        for moment in moments("panel", number):
            assert moment.scene.machine is not None
            assert moment.scene.second is not None
            assert moment.scene.machine.name != moment.scene.second.name


@pytest.mark.usefixtures("rendering")
def test_most_frames_can_be_asked_about_and_in_some_there_is_nothing_to_see() -> None:
    with Renderer(160, 120) as renderer:
        for dataset in q.DATASETS:
            answers = []
            for moment in [moment for number in range(3) for moment in moments(dataset, number)[::20]]:
                seen = q.observe(moment.scene, renderer.render(moment.scene).classes)
                if q.askable(moment.question, seen):
                    answers.append(q.answer(moment.question, seen))
            assert len(answers) > 0.75 * 45
            absent = sum(answer in q.ABSENT.values() for answer in answers)
            assert 0.05 < absent / len(answers) < 0.6, dataset


@pytest.fixture(scope="module")
def filmed(rendering: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("streams")
    render_streams(out, "val", 1, 1, seconds=1.2)
    return out / "val"


def test_a_stream_becomes_a_bag_with_facts_of_every_frame(filmed: Path) -> None:
    assert sorted(bag.name for bag in filmed.iterdir()) == [f"{dataset}_00" for dataset in q.DATASETS]
    for bag in filmed.iterdir():
        with BagReader(bag) as reader:
            counts = {topic.name: topic.count for topic in reader.topics.values()}
            facts = [reader.deserialize(record) for record in reader.records(topics=["/facts"])]
            truths = [reader.deserialize(record) for record in reader.records(topics=["/ground_truth"])]
            (question,) = [reader.deserialize(record) for record in reader.records(topics=["/question"])]
        assert counts.pop("/ground_truth", 0) <= 6
        assert counts == {"/image/compressed": 6, "/camera_info": 1, "/question": 1, "/facts": 6}
        assert {message.question_id for message in [*facts, *truths]} <= {question.question_id}
        said = {(m.header.stamp.sec, m.header.stamp.nanosec): m.facts for m in facts}
        for truth in truths:
            told = said[truth.header.stamp.sec, truth.header.stamp.nanosec]
            if truth.answer == q.ABSENT[truth.question]:
                assert all(fact.name == "name" or fact.value == "none" for fact in told)
            else:
                assert truth.answer.split(", ") == [fact.value for fact in told if truth.question not in q.PANEL] or (
                    truth.answer == told[-1].value
                )
                assert all(fact.object_id for fact in told)
                assert len(truth.regions) == 1


def test_a_whole_bag_is_left_as_it_is_and_a_missing_one_is_filmed_again(filmed: Path) -> None:
    kept, lost = filmed / "aisle_00" / "aisle_00.mcap", filmed / "panel_00" / "panel_00.mcap"
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    shutil.rmtree(lost.parent)
    render_streams(filmed.parent, "val", 1, 1, seconds=1.2)
    assert kept.stat().st_mtime_ns == before
    assert lost.read_bytes() == content


def test_a_bag_that_is_no_whole_stream_is_named(filmed: Path, tmp_path: Path) -> None:
    with pytest.raises(BagError, match="6 frames, not the 300"):
        is_whole(filmed / "aisle_00")
    (tmp_path / "val" / "aisle_00").mkdir(parents=True)
    with pytest.raises(BagError, match="remove the folder"):
        render_streams(tmp_path, "val", 1, 1, seconds=1.2)


def test_an_unknown_stream_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="aisle, crossing, gesture, panel"):
        stream("harbour", "val", 0)


def test_a_scene_can_be_had_at_any_time_without_those_before() -> None:
    play = stream("crossing", "train", 5)
    later = [m.scene for m in play.moments(30.0, RATE)][100]
    assert later == stream("crossing", "train", 5).moment(20.0).scene
    assert isinstance(later, Scene)

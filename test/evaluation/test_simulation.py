# SPDX-License-Identifier: Apache-2.0
"""A scene: what models say about it, asked once and shared."""

from __future__ import annotations

from pathlib import Path

from edgevlm_ros.evaluation.simulation import Scene
from edgevlm_ros.evaluation.streams import open_stream
from support.small_bag import SmallBag, at_5_hz, stamp
from support.small_scene import CART, SmallModel, small_scene


def test_the_small_model_alone_is_asked_about_each_frame_once(tmp_path: Path) -> None:
    small = SmallModel()
    scene = small_scene(tmp_path / "cart_00", small)
    for _ in range(2):
        assert [taken.stamp for taken, *_ in scene.turns()] == list(scene.stream.stamps)
    assert len(small.prompts) == 20


def test_a_model_slower_than_the_camera_takes_the_newest_frame(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "cart_00")
    scene.cost = lambda kind, stamp: 450_000_000  # type: ignore[method-assign]
    turns = list(scene.turns())
    assert [taken.stamp for taken, *_ in turns[:3]] == [stamp(0.0), stamp(0.4), stamp(0.8)]
    assert [len(taken.missed) for taken, *_ in turns[:3]] == [0, 1, 1]
    assert all(end == taken.start + 450_000_000 for taken, _, _, end in turns)


def test_frames_before_the_first_question_are_asked_nothing(tmp_path: Path) -> None:
    with SmallBag(tmp_path / "late") as bag:
        for time in at_5_hz(2):
            if time == 1.0:
                bag.question(time, CART.text)
            bag.jpeg(time)
    known = small_scene(tmp_path / "cart_00")
    late = Scene(open_stream(tmp_path / "late"), known.robot, known.small, known.large, {}, {}, known._timings)
    assert [taken.stamp for taken, *_ in late.turns()] == [stamp(time) for time in (1.0, 1.2, 1.4, 1.6, 1.8)]


def test_what_the_large_model_said_is_read_as_the_bridge_reads_it(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "cart_00")
    reply = scene.reply(stamp(3.0), CART)
    assert reply is not None
    assert (reply.text, reply.regions[0].x0) == ("gas, right", 6.4)
    assert scene.read("{", stamp(3.0)) is None

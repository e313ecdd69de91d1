# SPDX-License-Identifier: Apache-2.0
"""What has to be known before the figures are believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgevlm_ros.assets import bag_path
from edgevlm_ros.edge.loading import EngineSettings
from edgevlm_ros.evaluation.large_model import Spoken
from edgevlm_ros.evaluation.notes import notes, of_the_world, unknown_world, unread_replies
from edgevlm_ros.evaluation.robot import robot
from edgevlm_ros.evaluation.streams import open_stream
from support.small_bag import stamp
from support.small_scene import CART, reply, small_stream

ROBOT = robot()


def test_the_bundled_models_know_their_world_and_no_other_bag(tmp_path: Path) -> None:
    rendered, own = small_stream(tmp_path / "cart_00"), small_stream(tmp_path / "yard", facts=False)
    assert not unknown_world([rendered], ROBOT)
    note = unknown_world([rendered, own], ROBOT)
    assert {"micro_svlm", "micro_lvlm", "yard", "--edge-model"} <= set(note.replace(",", " ").replace(":", " ").split())
    assert "cart_00" not in note


def test_only_the_bundled_one_of_two_models_is_named(tmp_path: Path) -> None:
    own = small_stream(tmp_path / "yard", facts=False)
    other = replace(ROBOT, engine=EngineSettings("HuggingFaceTB/SmolVLM-256M-Instruct"))
    assert "micro_svlm" not in unknown_world([own], other)
    assert "micro_lvlm" in unknown_world([own], other)
    assert not unknown_world([own], replace(other, cloud_model="Qwen/Qwen2.5-VL-7B-Instruct"))


def test_the_bundled_bag_is_of_the_world() -> None:
    assert of_the_world(open_stream(bag_path("demo")))


def test_replies_without_an_answer_are_counted(tmp_path: Path) -> None:
    stream = small_stream(tmp_path / "cart_00")
    texts = [reply("gas, left"), Spoken("", ()), Spoken('{"regions": []}', ())]
    replies = {(stamp(place / 5), CART.text): spoken for place, spoken in enumerate(texts)}
    assert "2 of 3" in unread_replies(stream, replies, ROBOT)
    assert unread_replies(stream, dict(list(replies.items())[:1]), ROBOT) == ""
    assert notes([stream], ROBOT, {"cart_00": replies}) == [unread_replies(stream, replies, ROBOT)]
    assert notes([stream], ROBOT, {}) == []

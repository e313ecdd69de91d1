# SPDX-License-Identifier: Apache-2.0
"""A sweep: what is missing is done, what is there is kept, whoever does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgevlm_ros.evaluation import sweep
from edgevlm_ros.evaluation.large_model import Spoken
from edgevlm_ros.evaluation.outcomes import Run, read_runs
from edgevlm_ros.evaluation.policies.registry import chosen
from edgevlm_ros.evaluation.remembering import RememberingEngine
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.evaluation.sweep import Means, Task, all_frames, another, gather_replies, keyframes, stand_ins
from support.small_scene import CART, SmallModel, constant, reply, robot, small_stream


class _Large:
    asked = 0

    def ask(self, upload: Any, question: str, split: bool = False, draft: Sequence[int] = ()) -> Spoken:
        _Large.asked += 1
        return reply("gas, left")


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> Means:
    """Models of a test, which only this process has."""
    _Large.asked = 0
    monkeypatch.setattr(sweep, "remembering", lambda settings: RememberingEngine(SmallModel()))
    monkeypatch.setattr(sweep, "large_model", lambda *_: _Large())
    monkeypatch.setattr(sweep, "replies_file", lambda folder, model, bridge, stream: folder / f"{stream.name}.jsonl")
    return Means(robot(), constant())


@pytest.fixture
def streams(tmp_path: Path) -> list[Stream]:
    return [small_stream(tmp_path / name) for name in ("cart_00", "cart_01", "panel_00")]


def swept(streams: Sequence[Stream], means: Means, out: Path, policies: str, delays: Sequence[str]) -> list[Run]:
    chosen_policies = chosen(policies.split(","))
    return sweep.sweep(
        streams, chosen_policies, delays, [0], "test", lambda policy, delay: policy.candidates[0], means, out
    )


def test_a_sweep_has_a_run_for_each_policy_delay_and_scene(streams: list[Stream], means: Means, tmp_path: Path) -> None:
    runs = swept(streams, means, tmp_path / "out", "edge_only,cloud_only", ["0", "1"])
    assert len({run.key for run in runs}) == len(runs) == 2 * 2 * 3
    assert {run.dataset for run in runs} == {"cart", "panel"}


def test_it_goes_on_where_it_was_and_ends_with_the_same_bytes(
    streams: list[Stream], means: Means, tmp_path: Path
) -> None:
    swept(streams, means, tmp_path / "once", "edge_only,edgevlm,cloud_only", ["0", "1"])
    swept(streams[1:], means, tmp_path / "twice", "edgevlm", ["1"])
    done = read_runs(tmp_path / "twice" / "runs.jsonl")
    swept(streams, means, tmp_path / "twice", "edge_only,edgevlm,cloud_only", ["0", "1"])
    files = [(tmp_path / name / "runs.jsonl").read_bytes() for name in ("once", "twice")]
    assert len(done) == 2
    assert files[0] == files[1]


def test_the_large_model_is_asked_about_a_frame_once_for_all_sweeps(
    streams: list[Stream], means: Means, tmp_path: Path
) -> None:
    swept(streams, means, tmp_path, "cloud_only,edgevlm,parallel_fuse", ["1"])
    assert _Large.asked == 3 * 4  # a keyframe each second
    swept(streams, means, tmp_path, "cloud_only,edgevlm,parallel_fuse,cloud_oracle", ["1"])
    assert _Large.asked == 3 * 20


def test_replies_are_asked_for_what_is_wanted_and_no_more(streams: list[Stream], means: Means, tmp_path: Path) -> None:
    first = all_frames(streams[0])[:3]
    found = gather_replies(streams[:1], {"cart_00": first}, means, tmp_path)
    assert list(found["cart_00"]) == first
    assert [asked for asked, _ in keyframes(streams[0], [Task("edgevlm", "1", 0, {})], means)] == [
        streams[0].stamps[place] for place in (0, 5, 10, 15)
    ]


def test_another_scene_is_the_next_of_the_same_dataset_if_there_is_one(streams: list[Stream]) -> None:
    first, second, panel = streams
    assert another(streams, first) is second
    assert another(streams, second) is first
    assert another(streams, panel) is first
    assert another([panel], panel) is panel


def test_what_stands_in_for_a_frame_was_said_elsewhere(streams: list[Stream]) -> None:
    first, second = streams[:2]
    said = {(stamp, CART.text): Spoken(str(place), ()) for place, stamp in enumerate(second.stamps)}
    foreign, own = stand_ins(first, second, said), stand_ins(second, second, said)
    assert [foreign[stamp].text for stamp in first.stamps[:2]] == ["0", "1"]
    assert [own[stamp].text for stamp in second.stamps[:2]] == ["10", "11"]
    sparse = {key: spoken for key, spoken in said.items() if int(spoken.text) % 10 == 0}
    assert {spoken.text for spoken in stand_ins(first, second, sparse).values()} == {"0", "10"}
    assert stand_ins(first, second, {}) == {}

# SPDX-License-Identifier: Apache-2.0
"""The alternatives, each at what it is known for."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.edge.engine import Completion
from edgevlm_ros.evaluation.large_model import Spoken
from edgevlm_ros.evaluation.policies import offload_deadline
from support.small_bag import stamp
from support.small_scene import Scene, SmallModel, accuracy, played, reply, run_of, small_scene

GAIN, NO_GAIN = [1.0] * 9, [0.0] * 9


def test_cloud_only_is_a_miss_until_the_first_reply_and_then_as_old_as_the_newest(tmp_path: Path) -> None:
    run = run_of(small_scene(tmp_path / "cart_00"), "cloud_only", "1")
    assert run.misses == 5
    assert [said.published - stamp(0) for said in run.published] == [second * 10**9 for second in (1, 2, 3, 4)]
    assert 1.0 <= run.ages[5] < 2.0


def test_parallel_fuse_holds_the_late_answer_as_long_as_it_is_told_to(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "cart_00")
    counts = [
        sum(not s.cloud for s in played(scene, "parallel_fuse", "1", {"hold": hold}).said) for hold in (0.0, 0.5, 9.0)
    ]
    assert counts[0] == 20
    assert counts == sorted(counts, reverse=True)
    assert accuracy(scene, "parallel_fuse", "0", {"hold": 1.0}) > accuracy(scene, "parallel_fuse", "0", {"hold": 0.0})


def test_a_cascade_sends_what_it_is_unsure_of_and_waits(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "cart_00", SmallModel(confidence=0.5))
    assert not played(scene, "offload_confidence", "1", {"threshold": 0.5}).calls
    unsure = played(scene, "offload_confidence", "1", {"threshold": 0.6})
    assert unsure.said[0].cloud
    assert unsure.said[0].published == stamp(0) + 20_000_000 + 10**9
    assert unsure.said[1].frame == stamp(1.0)


def test_a_cascade_stays_within_the_byte_budget(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "cart_00")
    run = run_of(scene, "offload_confidence", "0", {"threshold": 1.01})
    assert run.cloud_calls <= 6  # 4 s, a keyframe each second, and one that was saved up
    assert len(run.published) == 20


@pytest.mark.parametrize(
    ("knobs", "calls"),
    [
        ({"deadline": 2.0, "least_gain": 0.1, "gains": GAIN}, True),
        ({"deadline": 2.0, "least_gain": 0.1, "gains": NO_GAIN}, False),
    ],
)
def test_offloading_under_a_deadline_sends_what_pays(tmp_path: Path, knobs: dict[str, object], calls: bool) -> None:
    result = played(small_scene(tmp_path / "cart_00"), "offload_deadline", "0.5", knobs)
    assert bool(result.calls) is calls
    assert any(said.cloud for said in result.said) is calls


def test_after_a_reply_that_missed_the_deadline_frames_are_answered_at_once(tmp_path: Path) -> None:
    knobs = {"deadline": 0.5, "least_gain": 0.1, "gains": GAIN}
    result = played(small_scene(tmp_path / "cart_00"), "offload_deadline", "1", knobs)
    assert not any(said.cloud for said in result.said)
    assert result.said[0].published == stamp(0) + 20_000_000 + 500_000_000
    assert result.said[-1].published == stamp(3.8) + 20_000_000


def test_the_average_follows_the_latency_and_bins_hold_their_confidence() -> None:
    assert offload_deadline.averaged(None, 4.0) == 4.0
    assert offload_deadline.averaged(4.0, 8.0) == 5.0
    assert [offload_deadline.bin_of(confidence) for confidence in (0.0, 0.4, 0.995)] == [0, 1, 8]


class _Large:
    """Counts who asks it, and says what it is told to."""

    def __init__(self, accepted: int = 2) -> None:
        self.accepted = accepted

    def ask(self, upload: object, question: str, split: bool = False, keep: float = 1.0) -> Spoken:
        return reply("gas, left" if split else "whole")

    def beginning(self, answer: str) -> list[int]:
        return [1]

    def complete(self, upload: object, question: str, draft: object = ()) -> Completion:
        return Completion(reply("gas, left").text, 0.9, 0.0, drafted_tokens=4, accepted_tokens=self.accepted)

    def features(self, upload: object, keep: float) -> bytes:
        return bytes(round(3000 * keep))


def with_large(scene: Scene, large: _Large) -> Scene:
    scene.large = lambda: large  # type: ignore[assignment, return-value]
    return scene


def test_partitioned_sends_features_later_and_less_often_and_says_what_they_give(tmp_path: Path) -> None:
    scene = with_large(small_scene(tmp_path / "cart_00"), _Large())
    result = played(scene, "partitioned", "0.5")
    assert all(call.bytes_up == 3000 and call.sent == call.stamp + 40_000_000 for call in result.calls)
    assert len(result.calls) < len(played(scene, "cloud_only", "0.5").calls)
    assert {said.text for said in result.said} == {"gas, left"}


def test_partitioned_sends_fewer_bytes_of_fewer_tokens(tmp_path: Path) -> None:
    scene = with_large(small_scene(tmp_path / "cart_00"), _Large())
    half = played(scene, "partitioned", "0.5", {"keep": 0.5})
    assert {call.bytes_up for call in half.calls} == {1500}


def test_speculative_sends_the_draft_too_and_counts_what_was_accepted(tmp_path: Path) -> None:
    scene = with_large(small_scene(tmp_path / "cart_00"), _Large())
    result = played(scene, "speculative", "0.5")
    first = result.calls[0]
    assert first.bytes_up == scene.stream.jpeg_bytes(first.stamp) + len("boxes, left")
    assert result.outcomes == {"tokens drafted": 4 * len(result.calls), "tokens accepted": 2 * len(result.calls)}
    assert all(said.cloud for said in result.said)

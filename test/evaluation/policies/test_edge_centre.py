# SPDX-License-Identifier: Apache-2.0
"""The small model with a second view on the centre: at edgeVLM's cost, and without a cloud."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevlm_ros.edge.engine import Completion, OnToken, Prompt, Stop
from edgevlm_ros.evaluation.policies import edge_centre
from edgevlm_ros.evaluation.policies.edge_centre import centre, majority
from edgevlm_ros.evaluation.policies.registry import ABLATIONS, KEYFRAMES, POLICIES
from support.small_bag import stamp
from support.small_scene import SmallModel, accuracy, played, small_scene


class Reader(SmallModel):
    """Reads the load right in two of three frames."""

    def complete(self, prompt: Prompt, on_token: OnToken | None = None, stop: Stop | None = None) -> Completion:
        done = super().complete(prompt, on_token, stop)
        load = "acid" if len(self.prompts) % 3 == 2 else "gas"
        return Completion(done.text.replace("boxes", load), done.confidence, done.first_token_time)


def test_the_centre_is_a_quarter_of_the_frame_s_area_and_as_wide_as_high() -> None:
    image = np.arange(480 * 640 * 3, dtype=np.uint32).reshape(480, 640, 3).astype(np.uint8)
    assert np.array_equal(centre(image), image[144:384, 160:480])


def test_each_frame_is_shown_with_its_centre_in_one_pass_at_the_cost_of_a_focused_answer(tmp_path: Path) -> None:
    small = SmallModel()
    result = played(small_scene(tmp_path / "cart_00", small), "edge_centre_view", "1")
    assert len(small.prompts) == len(result.said) == 20
    for prompt in small.prompts:
        assert not prompt.history
        assert [np.array_equal(prompt.images[1], centre(prompt.images[0])), len(prompt.images)] == [True, 2]
    assert {said.published - said.frame for said in result.said} == {30_000_000}


@pytest.mark.parametrize("name", ["edge_centre_view", "edge_centre_memory"])
def test_no_cloud_is_asked_and_none_is_missed(tmp_path: Path, name: str) -> None:
    scene = small_scene(tmp_path / "cart_00", Reader())
    near, dead = played(scene, name, "0"), played(scene, name, "dead")
    assert not near.calls
    assert near.said == dead.said


def test_the_memory_mends_what_the_model_misreads_now_and_then(tmp_path: Path) -> None:
    scene = small_scene(tmp_path / "cart_00", Reader())
    alone, remembered = (accuracy(scene, f"edge_centre_{name}", "1") for name in ("view", "memory"))
    assert alone < 0.7 < 0.8 < remembered


def test_what_is_older_than_the_memory_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(SmallModel):
        def complete(self, prompt: Prompt, on_token: OnToken | None = None, stop: Stop | None = None) -> Completion:
            super().complete(prompt, on_token, stop)
            return Completion("gas, left" if len(self.prompts) <= 10 else "acid, left", 0.5, 0.0)

    monkeypatch.setattr(edge_centre, "MEMORY_S", 1.0)
    scene = small_scene(tmp_path / "cart_00", Other())
    changed = next(said.frame for said in played(scene, "edge_centre_memory", "1").said if said.text == "acid, left")
    assert changed == stamp(2.4)  # three of the six answers since 1.4 s, and the newest among equals


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (["gas, left", "acid, left", "gas, left", "acid, right"], "acid, right"),
        (["gas, left", "gas, left", "acid, right"], "gas, right"),
        (["gas, left", "gas, left", "nobody"], "nobody"),
        (["nobody", "nobody", "nobody", "gas, left"], "gas, left"),
        (["idle", "idle", "fault"], "fault"),
        (["a, b, c", "a, d, e", "x, d, f"], "a, d, f"),
    ],
)
def test_all_parts_but_the_last_are_voted_on_by_answers_of_as_many_parts(answers: list[str], said: str) -> None:
    assert majority(answers) == said


def test_both_are_in_the_default_tables_right_after_the_edge_alone() -> None:
    names = ["edge_only", "edge_centre_view", "edge_centre_memory"]
    assert list(POLICIES)[:3] == names
    assert not {*ABLATIONS, *KEYFRAMES} & set(names)

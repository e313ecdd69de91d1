# SPDX-License-Identifier: Apache-2.0
"""What the defaults of tracking rest on, measured on the bundled bag."""

from __future__ import annotations

import numpy as np
import pytest

from edgevlm_ros.assets import share_dir
from edgevlm_ros.evaluation.carrying import Moment, carry, print_similarity, read
from edgevlm_ros.transfer.focus import Focus


@pytest.fixture(scope="module")
def moments() -> list[Moment]:
    return read(share_dir() / "bags" / "demo")


def test_every_frame_of_the_bundled_bag_has_its_truth(moments: list[Moment]) -> None:
    assert len(moments) == 300
    assert {moment.box.label for moment in moments if moment.box} == {"cart", "machine", "person"}


def test_flow_keeps_regions_on_their_things_and_drops_those_that_left(moments: list[Moment]) -> None:
    outcomes = [outcome for age, outcome in carry(moments, "flow", Focus(carry="flow")) if age == 3.0]
    in_view = [outcome for outcome in outcomes if outcome.there]
    gone = [outcome for outcome in outcomes if not outcome.there]
    assert np.mean([outcome.hit for outcome in in_view]) > 0.9
    assert np.mean([outcome.overlap for outcome in in_view]) > 0.7
    assert np.mean([outcome.hit for outcome in in_view if outcome.trusted]) > 0.95
    assert gone
    assert np.mean([outcome.trusted for outcome in gone]) < 0.1


def test_the_default_similarity_never_parts_one_aisle_and_parts_most_others(
    moments: list[Moment], capsys: pytest.CaptureFixture[str]
) -> None:
    print_similarity(moments)
    same, other = capsys.readouterr().out.splitlines()
    assert same.endswith("; 0.0% are below 0.5")
    assert float(other.split("; ")[1].split("%")[0]) > 60

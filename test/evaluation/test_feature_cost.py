# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.evaluation import feature_cost
from support.small_bag import SmallBag
from support.tiny_lvlm import make_tiny_lvlm


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    with SmallBag(tmp_path / "bags" / "hall_00") as bag:
        for index in range(4):
            bag.jpeg(index)
            bag.question(index)
            bag.truth(index, "left" if index % 2 else "right")
    return tmp_path / "bags"


def test_every_way_up_is_measured_on_the_same_frames(bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_tiny_lvlm(bag.parent / "tiny_lvlm")
    assert feature_cost.main([str(bag), "--model", str(model), "--frames", "4"]) == 0
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[0] for line in lines[-4:]] == [f"features, keep {keep:g}" for keep in feature_cost.SHARES]
    assert len(lines) == len(feature_cost.JPEGS) + len(feature_cost.SHARES)
    assert {line[2] for line in lines} == {"50.0 %"}
    sizes = [float(line[1]) for line in lines[-4:]]
    assert sizes == sorted(sizes, reverse=True)


def test_a_folder_without_bags_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert feature_cost.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")

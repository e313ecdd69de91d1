# SPDX-License-Identifier: Apache-2.0
"""The picture is drawn of whatever a run gave, long or short."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from soak.figures import Mark, Sample, Samples
from soak.plot import draw_soak
from soak.schedule import PHASE, schedule


@pytest.mark.parametrize("rounds", [1, 8])
def test_a_picture_is_drawn(tmp_path: Path, rounds: int) -> None:
    samples = Samples(ended=60.0 * rounds)
    samples.marks = [Mark(step.at, step.kind, step.value, step.begins) for step in schedule(60.0 * rounds, 60.0)]
    for second in range(int(samples.ended)):
        for name in ("edge_node", "camera", "something else"):
            samples.uses.append(Sample(float(second), name, 1, 10**8 + second * 10**5, 10**8, 20, 30, 0.1 * second))
    samples.answers = [float(at) for at in range(60)]
    assert {mark.kind for mark in samples.marks} > {PHASE, "fault"}
    draw_soak(samples, tmp_path / "soak.png")
    assert Image.open(tmp_path / "soak.png").size[0] > 1000

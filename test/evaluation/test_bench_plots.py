# SPDX-License-Identifier: Apache-2.0
"""The benchmark's pictures."""

from __future__ import annotations

from pathlib import Path

from edgevlm_ros.evaluation.bench_plots import draw_first_token, draw_stages
from support.bench_results import result, row


def test_pictures_are_drawn_of_whatever_there_is(tmp_path: Path) -> None:
    for results in ([result(), result(model="other", rows=[row("none", 0, generate_ms=None)])], []):
        draw_first_token(results, tmp_path / f"first{len(results)}.png")
        draw_stages(results, tmp_path / f"stages{len(results)}.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first2.png", "stages2.png"]

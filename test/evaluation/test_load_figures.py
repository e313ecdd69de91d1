# SPDX-License-Identifier: Apache-2.0
"""What is made of a run's samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.evaluation.load import Alone, Asked, Cycle, Heard, Samples
from edgevlm_ros.evaluation.load_figures import doubts, figures, markdown, slope, targets, warm_up
from edgevlm_ros.evaluation.load_plot import draw_load
from edgevlm_ros.evaluation.process_use import Use

ASKED = Asked("some", "What?", 6, 1, 600.0, 60.0, 30.0, 640, 480, 3)
START = 1000.0


def samples(growth: float = 0.0, period: float = 0.34, stamp_age: float = 0.36, own: float = 0.05) -> Samples:
    """Ten minutes of a node that answers in 0.33 s. growth: MB a minute, after a first minute of much more. period: of
    answers, seconds. own: CPU of a core beside the inference thread's 0.98."""
    uses = []
    for second in range(601):
        memory = 500e6 + min(second, 60) * 1e6 + growth * 1e6 * max(second - 60, 0) / 60
        threads = {7: 0.98 * second, 8: own * second}
        uses.append(Use(START + second, int(memory), int(memory / 2), sum(threads.values()), threads))
    answers = [Heard(START + period * n, 0.35, 0.33, stamp_age) for n in range(int(600 / period))]
    images = [(START + second, 30 * second) for second in range(600)]
    cycles = [Cycle(0.9, 0.0, 0.3), Cycle(0.5, 0.01, 0.1)]
    cpu = {"machine": 600 * (0.98 + own) + 70.0, "edge_node": 600 * (0.98 + own), "camera": 40.0, "load": 20.0}
    return Samples(answers, uses, images, cycles, [Alone([0.33] * 100, 32.0), Alone([0.33] * 100, 34.0)], cpu)


def verdicts(run: Samples) -> dict[str, Any]:
    return {row["what"]: row["met"] for row in targets(ASKED, figures(ASKED, run))}


def test_a_node_that_keeps_pace_meets_every_target() -> None:
    found = figures(ASKED, samples())
    assert found["pace"] == pytest.approx(0.33 / 0.34, rel=1e-3)
    assert found["in_engine"] == pytest.approx(0.33 / 0.34, rel=1e-2)
    assert found["camera_rate"] == pytest.approx(30.0)
    assert found["age_limit_ms"] == pytest.approx(1300 * 0.33 + 1000 / 30)
    assert found["own_cpu"] == pytest.approx(0.05, abs=1e-3)
    assert found["besides_on_inference_thread_cpu"] == pytest.approx(0.98 - 0.33 / 0.34, abs=5e-3)
    assert found["within_age_limit"] == 1.0
    assert found["cpu_per_answer_ms"] == pytest.approx(1.03 * 340, rel=5e-3)
    assert found["cpu_per_answer_alone_ms"] == pytest.approx(330.0)
    assert set(verdicts(samples()).values()) == {True}
    assert doubts(ASKED, found) == []


@pytest.mark.parametrize(
    ("run", "missed"),
    [
        (samples(growth=1.5), "memory"),
        (samples(period=0.4), "answers a second"),
        (samples(stamp_age=0.6), "age by its stamp"),
        (samples(own=0.2), "own CPU"),
    ],
    ids=["growing", "slow", "late", "busy"],
)
def test_what_is_missed_is_told_and_nothing_else(run: Samples, missed: str) -> None:
    told = [what for what, met in verdicts(run).items() if not met]
    assert len(told) == 1
    assert missed in told[0]


def test_a_slow_start_or_end_is_told_by_its_slowest() -> None:
    run = samples()
    run.cycles.append(Cycle(1.5, 0.25, 0.4))
    assert [what.partition(" to")[0] for what, met in verdicts(run).items() if not met] == [
        "from activate",
        "from deactivate",
    ]


def test_growth_in_the_beginning_is_no_leak() -> None:
    assert warm_up(600.0) == 60.0
    assert warm_up(60.0) == 12.0
    assert figures(ASKED, samples(growth=0.5))["memory_slope_mb_per_min"] == pytest.approx(0.5, abs=1e-3)
    assert slope([(0.0, 1.0), (1.0, 1.0)]) is None


def test_what_makes_figures_doubtful_is_said() -> None:
    run = samples()
    run.cpu["machine"] += 600.0
    run.images = [(at, seen // 2) for at, seen in run.images]
    run.alone[1] = Alone([0.5] * 60, 20.0)
    told = " ".join(doubts(replace(ASKED, seconds=60.0), figures(ASKED, run)))
    for what in ("took 1.02 cores", "got 15.0", "3.03 answers a second before", "--minutes 10"):
        assert what in told
    assert "as fast as the camera" in doubts(ASKED, {**figures(ASKED, run), "rate_alone": 40.0})[2]


def test_the_table_and_the_picture_hold_what_was_found(tmp_path: Path) -> None:
    run = samples(growth=1.5)
    found = figures(ASKED, run)
    load = {
        "model": "smolvlm-68m",
        "asked": {"rate": 30.0, "width": 640, "height": 480, "seconds": 600.0, "tokens": 6, "threads": 1},
        "machine": {"cpu": "a CPU"},
        "load_average": [1.0, 1.2],
        "figures": found,
        "targets": targets(ASKED, found),
        "doubts": ["the moon was full"],
    }
    table = markdown(load)
    assert "| memory, growth a minute | 1.50 MB | < 1.00 MB | **no** |" in table
    assert "| answers a second over those of the engine alone | 0.97 | >= 0.95 | yes |" in table
    assert table.endswith("Note: the moon was full.\n")
    draw_load(run, 60.0, found["age_limit_ms"], tmp_path / "load.png")
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_without_answers_has_figures_all_the_same(tmp_path: Path) -> None:
    run = samples()
    run.answers, run.images = [], []
    found = figures(ASKED, run)
    assert (found["rate"], found["camera_rate"], found["age_ms"]["p95"]) == (0.0, None, None)
    assert {row["met"] for row in targets(ASKED, found)} >= {False, None}
    draw_load(run, 60.0, found["age_limit_ms"], tmp_path / "load.png")

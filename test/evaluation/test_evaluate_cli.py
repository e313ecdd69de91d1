# SPDX-License-Identifier: Apache-2.0
"""The whole command, on a few seconds of the bundled bag with the bundled models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgevlm_ros import cli
from edgevlm_ros.assets import bag_path
from edgevlm_ros.evaluation.outcomes import read_runs
from edgevlm_ros.evaluation.policies.registry import POLICIES
from support.cut_bag import cut
from support.small_bag import whole

RESULTS = ("runs.jsonl", "results.json", "results.md", "report.html")


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of a few seconds, one with a change of the question."""
    folder = tmp_path_factory.mktemp("bags")
    for number, begin in enumerate((18.4, 46.0)):
        cut(bag_path("demo"), folder / f"demo_{number:02d}", begin, begin + 3.0)
    return folder


@pytest.fixture(scope="module")
def first(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of all policies at two delays, in one process."""
    out = tmp_path_factory.mktemp("first")
    assert evaluate(bags, out, "--policies", "all", "--delays", "0,1") == 0
    return out


def evaluate(bags: Path, out: Path, *options: str) -> int:
    return cli.main(["evaluate", str(bags), "--out", str(out), "--jobs", "1", "--device", "cpu", *options])


def test_every_policy_is_evaluated_at_every_delay_in_every_scene(first: Path) -> None:
    runs = read_runs(first / "runs.jsonl")
    policies = set(POLICIES) - {"transfer_limit"}  # which needs facts
    assert {(run.policy, run.delay, run.scene) for run in runs} == {
        (policy, delay, scene) for policy in policies for delay in ("0", "1") for scene in ("demo_00", "demo_01")
    }
    assert all(len(run.correct) == 15 for run in runs)
    command = json.loads((first / "results.json").read_text())["header"]["command"]
    assert command.split()[3:] == ["--policies", "all", "--delays", "0,1", "--device", "cpu"]


def test_it_makes_sense(first: Path) -> None:
    accuracy = {(run.policy, run.delay, run.scene): sum(run.correct) for run in read_runs(first / "runs.jsonl")}
    for scene in ("demo_00", "demo_01"):
        assert accuracy["cloud_oracle", "0", scene] == accuracy["cloud_oracle", "1", scene] >= 11
        assert accuracy["cloud_only", "0", scene] > accuracy["cloud_only", "1", scene]
        assert accuracy["edge_only", "0", scene] == accuracy["edge_only", "1", scene]


def test_two_processes_give_the_same_bytes_as_one(bags: Path, first: Path, tmp_path: Path) -> None:
    some = ("edge_only", "speculative", "edgevlm", "edgevlm_shuffled", "cloud_oracle")
    options = ("--policies", ",".join(some), "--delays", "1", "--timings", str(first / "timings.json"), "--jobs", "2")
    assert evaluate(bags, tmp_path, *options) == 0
    known = [run for run in read_runs(first / "runs.jsonl") if run.policy in some and run.delay == "1"]
    assert (tmp_path / "runs.jsonl").read_text() == "".join(run.line() for run in known)


def test_an_interrupted_sweep_ends_as_if_it_had_not_been(bags: Path, first: Path, tmp_path: Path) -> None:
    lines = (first / "runs.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "runs.jsonl").write_text("".join(lines[::2]) + lines[1][:100])
    for name in ("made_with.json", "timings.json"):
        (tmp_path / name).write_bytes((first / name).read_bytes())
    assert evaluate(bags, tmp_path, "--policies", "all", "--delays", "0,1") == 0
    assert [(tmp_path / name).read_bytes() for name in RESULTS] == [(first / name).read_bytes() for name in RESULTS]


def test_runs_made_with_something_else_are_not_mixed_with_new_ones(
    bags: Path, first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("made_with.json", "timings.json", "runs.jsonl"):
        (tmp_path / name).write_bytes((first / name).read_bytes())
    params = tmp_path / "params.yaml"
    params.write_text("edge_node: {ros__parameters: {focus.half_life: 1.0}}")
    assert evaluate(bags, tmp_path, "--params", str(params)) == 2
    assert "changed: robot. Give another --out" in capsys.readouterr().err


def test_a_corrected_truth_gives_no_old_figures(
    bags: Path, first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = tmp_path / "truth.jsonl"
    options = ("--policies", "edge_only", "--delays", "1", "--timings", str(first / "timings.json"))
    options += ("--question", "Where is the person?")
    for answer, code in (("left", 0), ("right", 2)):
        truth.write_text(json.dumps({"from": 0, "to": 3, "question": "Where is the person?", "answer": answer}))
        assert evaluate(bags / "demo_00", tmp_path / "out", *options, "--annotations", str(truth)) == code
    assert "changed: truths of demo_00" in capsys.readouterr().err
    (tmp_path / "out" / "runs.jsonl").unlink()
    assert evaluate(bags / "demo_00", tmp_path / "out", *options, "--annotations", str(truth)) == 0


def test_calibration_writes_knobs_that_the_next_run_reads(bags: Path, first: Path, tmp_path: Path) -> None:
    knobs = tmp_path / "knobs.json"
    timings = ("--timings", str(first / "timings.json"), "--knobs", str(knobs), "--delays", "1")
    assert evaluate(bags, tmp_path, "--calibrate", "--policies", "parallel_fuse,offload_deadline", *timings) == 0
    written = json.loads(knobs.read_text())
    assert set(written["chosen"]) == {"parallel_fuse", "offload_deadline"}
    assert "--calibrate" in written["about"]["command"]
    assert evaluate(bags, tmp_path / "next", "--policies", "edge_only,parallel_fuse", *timings) == 0
    assert json.loads((tmp_path / "next" / "results.json").read_text())["header"]["knobs"] == written["about"]


def test_a_bag_without_truth_is_looked_at_all_the_same(first: Path, tmp_path: Path) -> None:
    bag = cut(bag_path("demo"), tmp_path / "yard", 0.0, 2.0, without=("edgevlm_msgs/msg/Annotation",))
    options = ("--policies", "edge_only,cloud_only,edgevlm", "--delays", "1", "--timings", str(first / "timings.json"))
    assert evaluate(bag, tmp_path / "out", *options, "--question", "Where is the person?") == 0
    assert all(run.correct == () for run in read_runs(tmp_path / "out" / "runs.jsonl"))
    assert (tmp_path / "out" / "look.html").exists()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--policies", "edgy"], "unknown policy 'edgy'"),
        (["--delays", "soon"], "delay 'soon' is unknown"),
        (["--timings", "nowhere.json"], "no such file"),
        (["--edge-model", "no/such/model/here"], "no such folder"),
        (["--annotations", "yard.jsonl"], "--annotations is about one bag"),
        (["--calibrate", "--split", "test"], "knobs are chosen on val"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_a_reason(
    bags: Path, tmp_path: Path, options: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(bags, tmp_path, *options) == 2
    assert fault in capsys.readouterr().err


def test_without_streams_it_is_said_how_to_render_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate"]) == 2
    assert "edgevlm world streams --split test" in capsys.readouterr().err


def test_two_bags_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        whole(tmp_path / folder / "bag")
    assert evaluate(tmp_path, tmp_path / "out") == 2
    assert "two bags are called 'bag'" in capsys.readouterr().err

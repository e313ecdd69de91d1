# SPDX-License-Identifier: Apache-2.0
"""What an evaluation leaves behind."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import math
from pathlib import Path

import pytest
from PIL import Image

from edgevlm_ros.evaluation.evidence_report import write_evidence
from edgevlm_ros.evaluation.outcomes import Run, Said
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.transfer.types import Question
from support.evidence_runs import POLICIES, DrawnStream, make_runs, make_streams

EVIL = "<script>alert(1)</script> $\\frac{1}$ & “ничего”"
HEADER = {"command": "edgevlm evaluate", "models": {"edge": "small", "cloud": "large"}, "date": "2026-11-22"}


class Page(html.parser.HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


@pytest.fixture(scope="module")
def streams() -> list[Stream]:
    return make_streams(("crossing", "panel"), scenes=2, seconds=20.0)


@pytest.fixture(scope="module")
def runs(streams: list[Stream]) -> list[Run]:
    return make_runs(streams, POLICIES, ("0", "3", "lognormal"))


def blind(stream: Stream) -> DrawnStream:
    return dataclasses.replace(stream, truths=())  # type: ignore[return-value]


def unjudged(runs: list[Run]) -> list[Run]:
    return [dataclasses.replace(run, correct=(), ages=(), misses=0) for run in runs]


def spoken_by_evil(said: Said) -> Said:
    return dataclasses.replace(said, text=EVIL, question=Question(EVIL))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_whole_evaluation_has_rows_tables_plots_and_strips(
    tmp_path: Path, runs: list[Run], streams: list[Stream]
) -> None:
    write_evidence(runs, streams, tmp_path, header=HEADER)
    names = sorted(path.stem for path in (tmp_path / "plots").iterdir())
    assert names == [
        "ablations",
        "accuracy_by_dataset",
        "accuracy_over_bytes",
        "accuracy_over_delay",
        "misleads",
        "regimes",
        "saves",
    ]
    for path in (tmp_path / "plots").iterdir():
        with Image.open(path) as image:
            assert image.width > 500
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["header"] == HEADER
    assert len(found["rows"]) == len(POLICIES) * 3 * 3
    assert "## Streaming accuracy" in (tmp_path / "results.md").read_text()
    page = Page((tmp_path / "report.html").read_text())
    assert page.tags.count("img") == len(names)
    assert all(link.startswith("data:") for link in page.links)
    assert not (tmp_path / "look.html").exists()


def test_the_same_runs_leave_the_same_bytes(tmp_path: Path, runs: list[Run], streams: list[Stream]) -> None:
    write_evidence(runs, streams, tmp_path / "a", header=HEADER)
    write_evidence(runs[::-1], streams[::-1], tmp_path / "b", header=HEADER)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_bag_without_truth_has_latency_agreement_and_a_page_to_look_through(
    tmp_path: Path, runs: list[Run], streams: list[Stream]
) -> None:
    write_evidence(unjudged(runs), [blind(stream) for stream in streams], tmp_path, header=HEADER)
    assert [path.stem for path in (tmp_path / "plots").iterdir()] == ["agreement"]
    found = json.loads((tmp_path / "results.json").read_text())
    assert {row["streaming_accuracy"] for row in found["rows"]} == {None}
    assert set(found["agreement"]) == {stream.name for stream in streams}
    assert found["latency"][0]["p95"] > 0
    assert "nothing is scored" in (tmp_path / "report.html").read_text()
    look = Page((tmp_path / "look.html").read_text())
    assert look.tags.count("img") > 20 * len(streams)
    assert all(link.startswith("data:") or link == "report.html" for link in look.links)


def test_pictures_of_an_earlier_report_do_not_stay(tmp_path: Path, runs: list[Run], streams: list[Stream]) -> None:
    write_evidence(unjudged(runs), [blind(stream) for stream in streams], tmp_path, header={})
    few = [run for run in runs if run.policy == "edge_only"]
    write_evidence(few, streams, tmp_path, header={})
    assert not (tmp_path / "plots" / "agreement.png").exists()
    assert not (tmp_path / "look.html").exists()


def test_bags_with_and_without_truth_go_together(tmp_path: Path, runs: list[Run], streams: list[Stream]) -> None:
    mine = streams[0].name
    mixed = [run for run in runs if run.scene != mine] + unjudged([run for run in runs if run.scene == mine])
    write_evidence(mixed, [blind(streams[0]), *streams[1:]], tmp_path, header={})
    assert (tmp_path / "look.html").exists()
    assert (tmp_path / "plots" / "accuracy_over_delay.png").exists()


@pytest.mark.parametrize("policies", [("edge_only",), ("edgevlm",), ("cloud_only", "mine"), ("edge_only", "edgevlm")])
@pytest.mark.parametrize("delays", [("3",), ("lognormal",), ("0", "trace:4g_drive")])
def test_any_part_of_an_evaluation_has_a_report(
    tmp_path: Path, streams: list[Stream], policies: tuple[str, ...], delays: tuple[str, ...]
) -> None:
    write_evidence(make_runs(streams[:1], policies, delays), streams[:1], tmp_path, header={})
    assert (tmp_path / "report.html").exists()


def test_words_of_models_and_bags_are_shown_and_never_run(
    tmp_path: Path, runs: list[Run], streams: list[Stream]
) -> None:
    asked = [run for run in unjudged(runs) if (run.scene, run.delay) == (streams[0].name, "3")]
    evil = [dataclasses.replace(run, published=tuple(map(spoken_by_evil, run.published))) for run in asked]
    stream = dataclasses.replace(blind(streams[0]), problems=(EVIL,))
    write_evidence(evil, [stream], tmp_path, header={"command": EVIL})
    for name in ("report.html", "look.html"):
        page = Page((tmp_path / name).read_text())
        assert "script" not in page.tags
        assert "&lt;script&gt;" in (tmp_path / name).read_text()


def test_misses_do_not_make_numbers_that_json_lacks(tmp_path: Path, runs: list[Run], streams: list[Stream]) -> None:
    missed = [
        dataclasses.replace(run, ages=(math.nan,) * len(run.ages), correct=(0.0,) * len(run.correct), published=())
        for run in runs
    ]
    write_evidence(missed, streams, tmp_path, header={})
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert {row["answer_age_p50_ms"] for row in rows} == {None}


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="evaluate at least one policy"):
        write_evidence([], [], tmp_path, header={})


def test_notes_come_before_the_figures(streams: list[Stream], runs: list[Run], tmp_path: Path) -> None:
    write_evidence(runs, streams, tmp_path, header=HEADER, notes=["micro_svlm knows nothing of it", EVIL])
    page = (tmp_path / "report.html").read_text()
    assert 0 < page.index("micro_svlm knows nothing of it") < page.index("<table>")
    assert "<script>" not in page
    table = (tmp_path / "results.md").read_text()
    assert 0 < table.index("micro_svlm knows nothing of it") < table.index("| policy")
    assert json.loads((tmp_path / "results.json").read_text())["notes"][0] == "micro_svlm knows nothing of it"

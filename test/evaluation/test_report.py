# SPDX-License-Identifier: Apache-2.0
"""The report: one file, whole for every kind of run, and deaf to what models put into it."""

from __future__ import annotations

import dataclasses
import html.parser
from pathlib import Path
from typing import Any

import numpy as np

from edgevlm_ros.evaluation.metrics import summary
from edgevlm_ros.evaluation.recording import Recording
from edgevlm_ros.evaluation.report import most_telling, write_report
from edgevlm_ros.evaluation.streaming import Truth
from edgevlm_ros.evaluation.video import VideoWriter
from support.recordings import ANSWER, CONTEXT, SECOND, WHERE, later

EVIL = "<script>alert(1)</script> $\\frac{1}$ & \x00\n“ничего”"


class Page(html.parser.HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


def report(folder: Path, recording: Recording, **changes: Any) -> Page:
    about: dict[str, Any] = {
        "source": {"name": "street", "seconds": 4.0, "start": 0, "image_topic": "/image"},
        **summary(recording, 20),
        "models": {"edge": "small", "cloud": "large"},
        "note": "",
        "date": "2026-11-22",
        "machine": {"cpu": "a"},
        "versions": {"torch": "2"},
        "options": {"outage": None},
        "parameters": {"edge_node": {"question": WHERE.text}},
        **changes,
    }
    return Page(write_report(folder, recording, about).read_text())


def test_a_whole_run_has_plots_scores_and_frames(tmp_path: Path) -> None:
    video = VideoWriter(tmp_path / "overlay.mp4")
    for second in range(4):
        video.put(lambda second=second: (second * SECOND, np.full((64, 96, 3), 40 * second, np.uint8)))
    video.close()
    answers = [later(second, context_stamp=0, focus_mode="crop", context_age=1.0) for second in range(4)]
    truths = [Truth(second * SECOND, WHERE, "left") for second in range(4)]
    failed = dataclasses.replace(CONTEXT, status="unreachable")
    page = report(tmp_path, Recording(answers, [CONTEXT, failed], truths), options={"outage": [1.0, 2.0]})
    assert page.tags.count("svg") == 5
    assert sum(link.startswith("data:image/jpeg;base64,") for link in page.links) == 4
    assert (tmp_path / "overlay.jpg").exists()
    text = (tmp_path / "report.html").read_text()
    assert "cloud killed" in text
    assert "75.0 %" in text


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    page = report(tmp_path, Recording([ANSWER], [CONTEXT]))
    assert all(link.startswith(("data:", "#")) for link in page.links)


def test_words_of_models_and_bags_are_shown_and_never_run(tmp_path: Path) -> None:
    evil = dataclasses.replace(ANSWER, text=EVIL, question=EVIL, truth=None, model=EVIL)
    context = dataclasses.replace(CONTEXT, text=EVIL, question=EVIL, status=EVIL)
    page = report(tmp_path, Recording([evil], [context]), models={"edge": EVIL, "cloud": EVIL}, note=EVIL)
    assert "script" not in page.tags
    assert "&lt;script&gt;" in (tmp_path / "report.html").read_text()


def test_a_run_without_answers_or_cloud_still_has_a_report(tmp_path: Path) -> None:
    page = report(tmp_path, Recording(), models={"edge": "small", "cloud": ""})
    assert page.tags.count("svg") == 4
    text = (tmp_path / "report.html").read_text()
    assert "the cloud was not asked" in text
    assert "Not scored: nothing was answered." in text


def test_the_frame_to_show_is_right_and_had_help() -> None:
    help_ = {"context_stamp": 0, "context_age": 1.0, "focus_mode": "crop"}
    wrong = later(1, text="right", **help_, confidence=1.0)
    alone = later(2, confidence=0.99)
    helped = later(3, **help_, confidence=0.5)
    assert most_telling([wrong, alone, helped]) is helped
    assert most_telling([]) is None

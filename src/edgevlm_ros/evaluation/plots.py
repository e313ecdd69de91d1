# SPDX-License-Identifier: Apache-2.0
"""The pictures of a report, each an SVG element to put into a page. A model's words are drawn, never run."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from edgevlm_ros.evaluation.metrics import percentile, rate_over_time
from edgevlm_ros.evaluation.recording import AnswerRecord, ContextRecord, Recording
from edgevlm_ros.evaluation.streaming import Truth, matches

INK, FAINT = "#1f2933", "#cbd5e1"
_RIGHT, _WRONG, _UNKNOWN, _CLOUD, _TRUTH = "#15803d", "#dc2626", "#2563eb", "#d97706", "#bbf7d0"
STYLE = {
    "svg.fonttype": "none",  # text stays text: small, sharp, searchable
    "text.parse_math": False,  # a dollar sign in an answer is a dollar sign
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "axes.ymargin": 0.15,
}
_ROWS = 12  # different answers shown for a question; the rest share a row
_WIDE, _HALF = 10.0, 4.9  # inches
_QUESTIONS = 8


def timeline(recording: Recording, start: int) -> str:
    """For each question: what was answered when, what was true, and when the cloud spoke. start: nanoseconds."""
    questions = list(dict.fromkeys(answer.question for answer in recording.answers))[:_QUESTIONS]
    with matplotlib.rc_context(STYLE):
        rows = [_categories(recording, question) for question in questions]
        figure = Figure(figsize=(_WIDE, sum(0.9 + 0.22 * len(row) for row in rows) + 0.5), layout="constrained")
        grid = figure.subplots(len(questions), 1, squeeze=False, height_ratios=[3 + len(row) for row in rows])[:, 0]
        for axes, question, row in zip(grid, questions, rows, strict=True):
            _question_axes(axes, recording, question, row, start)
        grid[-1].set_xlabel("seconds of the stream")
        return _svg(figure)


def _question_axes(axes: Any, recording: Recording, question: str, rows: list[str], start: int) -> None:
    place = {text: len(rows) - at for at, text in enumerate(rows)}

    def row(text: str) -> int:
        return place.get(_shown(text), place.get("(other)", 0))

    def seconds(stamp: int) -> float:
        return (stamp - start) / 1e9

    answers = [answer for answer in recording.answers if answer.question == question]
    truths = [truth for truth in recording.truths if truth.question.text == question]
    for begin, end, text in _spans(truths):
        axes.barh(row(text), seconds(end) - seconds(begin), left=seconds(begin), height=0.8, color=_TRUTH, lw=0)
    for colour, group in _by_colour(answers).items():
        times, places = [seconds(a.published) for a in group], [row(a.text) for a in group]
        faces = [colour if a.context_stamp is not None else "white" for a in group]
        axes.scatter(times, places, s=16, c=faces, edgecolors=colour, linewidths=0.9, zorder=3)
    for context in (context for context in recording.contexts if context.question == question):
        colour = _CLOUD if context.status == "ok" else "#64748b"
        axes.plot([seconds(context.stamp), seconds(context.published)], [0, 0], color=colour, lw=1.2)
        axes.plot(seconds(context.published), 0, "^" if context.status == "ok" else "x", color=colour, ms=5)
        if context.status == "ok":
            axes.axvline(seconds(context.published), color=_CLOUD, lw=0.5, alpha=0.35, zorder=0)
    axes.set_yticks([0, *place.values()], ["cloud", *place])
    axes.set_ylim(-0.8, len(rows) + 0.7)
    axes.set_title(_shown(question, 100))
    axes.grid(axis="y", color=FAINT, lw=0.4)


def _categories(recording: Recording, question: str) -> list[str]:
    """The answers that get a row: what was true first, then what was said most."""
    truths = Counter(_shown(truth.answer) for truth in recording.truths if truth.question.text == question)
    said = Counter(_shown(answer.text) for answer in recording.answers if answer.question == question)
    texts = list(dict.fromkeys([text for text, _ in truths.most_common()] + [text for text, _ in said.most_common()]))
    return texts if len(texts) <= _ROWS else [*texts[: _ROWS - 1], "(other)"]


def _spans(truths: Sequence[Truth]) -> list[tuple[int, int, str]]:
    """(begin, end, answer) of stretches in which the same was true, nanoseconds."""
    spans: list[tuple[int, int, str]] = []
    steps = [after.stamp - before.stamp for before, after in pairwise(truths)]
    step = sorted(steps)[len(steps) // 2] if steps else 200_000_000
    for truth in truths:
        if spans and spans[-1][2] == truth.answer and truth.stamp <= spans[-1][1] + step:
            spans[-1] = (spans[-1][0], truth.stamp + step, truth.answer)
        else:
            spans.append((truth.stamp, truth.stamp + step, truth.answer))
    return spans


def _by_colour(answers: Sequence[AnswerRecord]) -> dict[str, list[AnswerRecord]]:
    groups: dict[str, list[AnswerRecord]] = {}
    for answer in answers:
        right = None if answer.truth is None else matches(answer.text, answer.truth)
        groups.setdefault({None: _UNKNOWN, True: _RIGHT, False: _WRONG}[right], []).append(answer)
    return groups


def answer_age(answers: Sequence[AnswerRecord]) -> str:
    """How old a frame was when its answer was published: the share of answers that were faster."""
    ages = sorted(answer.frame_age * 1e3 for answer in answers)
    times = sorted(answer.inference_time * 1e3 for answer in answers)
    with matplotlib.rc_context(STYLE):
        figure, axes = _half("from image callback to published answer", "milliseconds", "share of answers")
        for values, colour, name in ((times, FAINT, "in the engine"), (ages, _UNKNOWN, "in all")):
            shares = [(place + 1) / len(values) for place in range(len(values))]
            axes.step(values, shares, where="post", color=colour, lw=1.6, label=name)
        p95 = percentile(ages, 95)
        if p95 is not None:
            axes.axvline(p95, color=INK, lw=0.6, ls=":")
            axes.annotate(f"p95 {p95:.0f} ms", (p95, 0.05), xytext=(4, 0), textcoords="offset points")
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1.02)
        axes.legend(loc="upper left")
        return _svg(figure)


def inference_time(answers: Sequence[AnswerRecord], start: int) -> str:
    """The engine's time for each frame, over the stream's."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _half("inference time", "seconds of the stream", "milliseconds")
        for used, colour, name in ((False, "#94a3b8", "without context"), (True, _UNKNOWN, "with context")):
            group = [answer for answer in answers if (answer.context_stamp is not None) == used]
            times = [(answer.published - start) / 1e9 for answer in group]
            axes.plot(times, [a.inference_time * 1e3 for a in group], ".", ms=3.5, color=colour, label=name)
        axes.set_ylim(0, 1.35e3 * max((answer.inference_time for answer in answers), default=1.0) or 1.0)
        axes.legend(loc="upper right", ncols=2)
        return _svg(figure)


def cloud_delay(contexts: Sequence[ContextRecord], start: int) -> str:
    """From sending a keyframe to its outcome, one mark each."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _half("cloud: from keyframe sent to outcome", "seconds of the stream", "seconds")
        for status in dict.fromkeys(context.status for context in contexts):
            group = [context for context in contexts if context.status == status]
            colour, mark = (_CLOUD, "^") if status == "ok" else ("#64748b", "x")
            times = [(context.published - start) / 1e9 for context in group]
            axes.plot(
                times, [c.delay for c in group], mark, color=colour, ms=4, label=f"{_shown(status)} ({len(group)})"
            )
        axes.set_ylim(0, 1.35 * max((context.delay for context in contexts), default=1.0) or 1.0)
        if contexts:
            axes.legend(loc="upper right", ncols=3)
        else:
            axes.text(0.5, 0.5, "the cloud was not asked", ha="center", transform=axes.transAxes)
        return _svg(figure)


def rate(answers: Sequence[AnswerRecord], start: int, end: int, outage: tuple[float, float] | None) -> str:
    """Answers a second over the run. outage: seconds since start in which the cloud was dead, if it was killed."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _half("answers per second", "seconds of the stream", "1/s")
        points = rate_over_time([answer.published for answer in answers], start, end)
        axes.step([t for t, _ in points], [n for _, n in points], where="mid", color=_UNKNOWN, lw=1.4)
        if outage is not None:
            axes.axvspan(*outage, color="#e2e8f0", zorder=0)
            axes.annotate("cloud killed", (outage[0], 0), xytext=(3, 4), textcoords="offset points")
        axes.set_ylim(bottom=0)
        return _svg(figure)


def _half(title: str, x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_HALF, 2.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color=FAINT, lw=0.4)
    return figure, axes


def _shown(text: str, limit: int = 32) -> str:
    """A model's words as a label: one line, printable, not too long."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return (line if len(line) <= limit else line[: limit - 1] + "…") or "(nothing)"


def _svg(figure: Figure) -> str:
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = target.getvalue()
    svg = svg[svg.index("<svg") :]
    return re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", svg, count=1).replace(
        "<svg ", '<svg role="img" ', 1
    )

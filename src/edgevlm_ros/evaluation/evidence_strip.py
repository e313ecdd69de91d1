# SPDX-License-Identifier: Apache-2.0
"""Film strips: frames with what each policy said at that time, where a late answer saves the day and where it misleads.

Both are searched for, not chosen by hand: the stretch in which edgeVLM is right and the edge alone most wrong, and the
other way round. Both are shown, whichever is rarer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from edgevlm_ros.evaluation.evidence_style import BLUE, ORANGE, SOFT, png, title
from edgevlm_ros.evaluation.outcomes import Run, Said
from edgevlm_ros.evaluation.plots import INK, STYLE
from edgevlm_ros.evaluation.regimes import run_key, stream_key
from edgevlm_ros.evaluation.results import FLOOR, OURS, Results, cloud_label, policy_label, telling_delay
from edgevlm_ros.evaluation.streaming import Truth, Verdict, judge
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.words import clean_text

CLOUD = "cloud_only"
_ROWS = (FLOOR, CLOUD, OURS)
_FRAMES, _SPACING_S = 6, 0.6
_COLUMN, _LABEL, _ROW = 1.75, 1.05, 0.4  # inches


@dataclass(frozen=True, slots=True)
class Moment:
    """What was said at the time of one frame. verdicts, scores: by policy, the latter as the evaluation's judge said.

    replied: the cloud answered since the last moment.
    """

    stamp: int
    verdicts: Mapping[str, Verdict]
    scores: Mapping[str, float]
    replied: bool

    @property
    def truth(self) -> Truth:
        return self.verdicts[OURS].truth

    def right(self, policy: str) -> bool:
        return self.scores[policy] >= 0.5


@dataclass(frozen=True, slots=True)
class Strip:
    """moments: of one stream, evenly spaced in time."""

    stream: Stream
    delay: str
    moments: tuple[Moment, ...]


def find_strips(results: Results, streams: Sequence[Stream]) -> dict[str, Strip]:
    """ "saves" and "misleads", each if there is such a stretch: at the telling delay, the first seed."""
    delay = telling_delay(results)
    by_key = {stream_key(stream): stream for stream in streams}
    runs: dict[tuple[str, str], dict[str, Run]] = {}
    for policy in _ROWS:
        for run in results.runs(policy, delay):
            runs.setdefault(run_key(run), {}).setdefault(policy, run)
    best: dict[str, tuple[float, Strip]] = {}
    for key in sorted(runs):
        stream = by_key.get(key)
        if stream is None or len(runs[key]) < len(_ROWS) or not stream.truths:
            continue
        for moments in _windows(_moments(stream, runs[key])):
            for name, worth in (("saves", _saves(moments)), ("misleads", _misleads(moments))):
                if worth > 0 and (name not in best or worth > best[name][0]):
                    best[name] = worth, Strip(stream, delay, moments)
    return {name: best[name][1] for name in ("saves", "misleads") if name in best}


def draw_strip(name: str, strip: Strip) -> bytes:
    """A PNG of a strip that find_strips found under this name."""
    height = 0.75 * _COLUMN + 4 * _ROW + 0.35
    size = (_LABEL + _FRAMES * _COLUMN, height + 0.62)
    with matplotlib.rc_context({**STYLE, "font.size": 9}):
        figure = Figure(figsize=size)
        axes = figure.add_axes((0, 0, 1, height / size[1]))
        axes.set_xlim(0, size[0])
        axes.set_ylim(height, 0)
        axes.axis("off")
        start = strip.stream.stamps[0]
        for row, text in enumerate(("true", *map(policy_label, _ROWS))):
            ours = row == len(_ROWS)
            axes.text(
                0.1, _middle(row), text, va="center", weight="bold" if ours else "normal", color=BLUE if ours else INK
            )
        for place, moment in enumerate(strip.moments):
            _column(axes, strip.stream, moment, _LABEL + place * _COLUMN, start)
        heading = {
            "saves": "A late answer saves the day",
            "misleads": "A late answer misleads",
        }[name]
        question = clean_text(strip.moments[0].truth.question.text, 90)
        title(figure, heading, f"{strip.stream.name}, {cloud_label(strip.delay)}: “{question}”")
        return png(figure)


def _moments(stream: Stream, runs: Mapping[str, Run]) -> list[Moment]:
    judged = {policy: judge(stream.truths, runs[policy].published) for policy in _ROWS}
    moments: list[Moment] = []
    for place, truth in enumerate(sorted(stream.truths, key=lambda truth: truth.stamp)):
        verdicts = {policy: judged[policy][place] for policy in _ROWS}
        before = moments[-1].verdicts[CLOUD].answer if moments else None
        scores = {policy: runs[policy].correct[place] for policy in _ROWS}
        moments.append(Moment(truth.stamp, verdicts, scores, verdicts[CLOUD].answer not in (None, before)))
    return moments


def _windows(moments: Sequence[Moment]) -> Iterator[tuple[Moment, ...]]:
    """Stretches of evenly spaced moments of one question; without those across a gap."""
    steps = sorted(after.stamp - before.stamp for before, after in pairwise(moments))
    if not steps or steps[len(steps) // 2] <= 0:
        return
    period = steps[len(steps) // 2] / 1e9
    stride = max(1, round(_SPACING_S / period))
    for first in range(len(moments) - stride * (_FRAMES - 1)):
        window = moments[first : first + stride * (_FRAMES - 1) + 1]
        chosen = tuple(
            replace(m, replied=any(each.replied for each in window[max(0, at - stride + 1) : at + 1]))
            for at, m in enumerate(window)
            if at % stride == 0
        )
        even = (chosen[-1].stamp - chosen[0].stamp) / 1e9 <= 1.2 * stride * period * (_FRAMES - 1)
        if even and len({m.truth.question for m in chosen}) == 1:
            yield chosen


def _saves(moments: Sequence[Moment]) -> float:
    """Most where the edge is wrong all along, edgeVLM too until a reply comes, and the cloud's own words are late."""
    gains = [m.right(OURS) and not m.right(FLOOR) for m in moments]
    if not any(gains):
        return 0.0
    losses = sum(m.right(FLOOR) and not m.right(OURS) for m in moments)
    late = sum(gain and not m.right(CLOUD) for gain, m in zip(gains, moments, strict=True))
    turns = not gains[0] and any(m.replied for m in moments[1:3])
    changes = len({m.truth.answer for m in moments}) > 1
    return sum(gains) + 0.5 * late + 2.0 * turns + 1.0 * changes - losses


def _misleads(moments: Sequence[Moment]) -> float:
    """Most where the edge is right all along and edgeVLM says what the cloud said of a scene that is gone."""
    losses = [m for m in moments if m.right(FLOOR) and not m.right(OURS)]
    if not losses:
        return 0.0
    gains = sum(m.right(OURS) and not m.right(FLOOR) for m in moments)
    copied = sum(bool(_wrong_parts(m, OURS) & _wrong_parts(m, CLOUD)) for m in losses)
    return len(losses) + 1.0 * copied + 0.5 * moments[0].right(OURS) - gains


def _wrong_parts(moment: Moment, policy: str) -> set[str]:
    verdict = moment.verdicts[policy]
    said = set((verdict.answer.text if verdict.answer else "").split(", "))
    return said - set(verdict.truth.answer.split(", "))


def _column(axes: Any, stream: Stream, moment: Moment, x: float, start: int) -> None:
    image = stream.frame(moment.stamp).image
    high, wide = image.shape[:2]
    width = min(_COLUMN - 0.08, 0.75 * _COLUMN * wide / high)
    middle = x + _COLUMN / 2
    axes.imshow(
        image, extent=(middle - width / 2, middle + width / 2, width * high / wide, 0), interpolation="antialiased"
    )
    axes.set_aspect("auto")
    axes.text(
        middle,
        0.75 * _COLUMN + 0.14,
        f"{(moment.stamp - start) / 1e9:.1f} s",
        ha="center",
        va="center",
        fontsize=8,
        color=SOFT,
    )
    if moment.replied:
        axes.text(x + 0.06, 0.75 * _COLUMN + 0.14, "▼ reply", va="center", fontsize=8, color="#b45309")
    axes.text(middle, _middle(0), clean_text(moment.truth.answer, 22), ha="center", va="center")
    for row, policy in enumerate(_ROWS, 1):
        _cell(axes, moment, policy, x, row)


def _cell(axes: Any, moment: Moment, policy: str, x: float, row: int) -> None:
    verdict, right, ours = moment.verdicts[policy], moment.right(policy), policy == OURS
    face = {(True, True): BLUE, (True, False): ORANGE, (False, True): "#d6e8f3", (False, False): "#fbe3d3"}[ours, right]
    ink = "white" if ours else INK
    box = FancyBboxPatch(
        (x + 0.05, _middle(row) - _ROW / 2 + 0.04),
        _COLUMN - 0.1,
        _ROW - 0.08,
        "round,pad=0,rounding_size=0.05",
        fc=face,
        lw=0,
    )
    axes.add_patch(box)
    said = verdict.answer
    text = clean_text(said.text, 20) or "(nothing)" if said else "no answer yet"
    axes.text(x + 0.12, _middle(row), "✓" if right else "✗", va="center", color=ink, fontsize=10)
    old = policy == CLOUD and isinstance(said, Said)
    axes.text(
        x + 0.3,
        _middle(row) - (0.07 if old else 0),
        text,
        va="center",
        color=ink,
        fontsize=8.5,
        weight="bold" if ours else "normal",
    )
    if old and isinstance(said, Said):
        axes.text(
            x + 0.3,
            _middle(row) + 0.09,
            f"about {(moment.stamp - said.frame) / 1e9:.1f} s ago",
            va="center",
            color=SOFT,
            fontsize=6.5,
        )


def _middle(row: int) -> float:
    return 0.75 * _COLUMN + 0.3 + (row + 0.5) * _ROW

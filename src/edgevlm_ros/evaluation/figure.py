# SPDX-License-Identifier: Apache-2.0
"""The method in one picture, from real frames: what the small model says alone, and what a late reply changes.

    python -m edgevlm_ros.evaluation.figure --out docs/images/method.png

Both models answer frames of a bag with ground truth; nothing in the picture is made up, and the same models and frames
give the same picture.
"""

from __future__ import annotations

import argparse
import io
import sys
import textwrap
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from numpy.typing import NDArray
from PIL import Image as PilImage

from edgevlm_ros.assets import AssetError, bag_path, model_path
from edgevlm_ros.bag_types import BagError
from edgevlm_ros.cloud.prompt import instruction
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.evaluation.annotated_frames import annotated_frames
from edgevlm_ros.evaluation.moment import Asked, Moment, best_moment
from edgevlm_ros.evaluation.streaming import matches
from edgevlm_ros.transfer.types import Question, Region, Source, Turn
from edgevlm_ros.words import clean_text

_WIDTH, _HEIGHT = 1400, 850  # pixels
_DPI = 100
_MARGIN = 30
_INK, _FAINT, _PAPER = "#1f2933", "#64748b", "#f6f7f9"
_RIGHT, _WRONG, _CLOUD, _CLOUD_PALE, _HEAT = "#15803d", "#dc2626", "#d97706", "#fdebc8", (1.0, 0.24, 0.35)
_STYLE = {"font.family": "DejaVu Sans", "text.color": _INK, "text.parse_math": False}
_SHOWN = 4  # frames of the timeline
_THUMB = (300, 225)
_VIEW, _GAP = (256, 192), 22
_BELOW = 515  # where the lower half begins
_TURNS = 4  # of the history that are listed one by one


def draw(moment: Moment) -> bytes:
    """A PNG file of the moment."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI, facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, _WIDTH)
        axes.set_ylim(_HEIGHT, 0)
        axes.axis("off")
        page = _Page(axes, moment)
        page.timeline()
        page.words(_MARGIN)
        page.boxes(_WIDTH - _MARGIN - 3 * _VIEW[0] - 2 * _GAP)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        rgb = PilImage.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    file = io.BytesIO()
    # half the size; without refinement by k-means, what is rare in the frames (yellow lines) loses its colour
    rgb.quantize(256, PilImage.Quantize.MEDIANCUT, kmeans=4).save(file, "PNG", optimize=True)
    return file.getvalue()


class _Page:
    """Axes in pixels, y downwards."""

    def __init__(self, axes: Any, moment: Moment) -> None:
        self.axes = axes
        self.moment = moment
        self.start = moment.keyframe.frame.stamp

    # -- above: what was said when -----------------------------------------------------------------------------------

    def timeline(self) -> None:
        moment, top = self.moment, 168
        delay = (moment.now.frame.stamp - self.start) / 1e9
        self.text(_MARGIN, 34, f"“{_shown(moment.question.text)}”", 14, weight="bold")
        self.text(
            _WIDTH - _MARGIN,
            34,
            "asked of every frame, a dot each; right or wrong by the bag's ground truth",
            10,
            _FAINT,
            ha="right",
        )
        first, last = self.x(self.start), self.x(moment.now.frame.stamp)
        bar = FancyBboxPatch(
            (first - 60, 66), last - first + 120, 46, "round,pad=0,rounding_size=12", fc=_CLOUD_PALE, lw=0
        )
        self.axes.add_patch(bar)
        self.text((first + last) / 2, 82, "the large model, in the cloud", 11.5, _CLOUD, ha="center", weight="bold")
        self.text(
            (first + last) / 2,
            100,
            f"its reply comes {delay:.1f} s later (set for this picture)",
            10,
            _CLOUD,
            ha="center",
        )
        self.text(
            (first + last) / 2,
            140,
            "the small model, on the robot, answers every frame",
            11.5,
            ha="center",
            weight="bold",
        )
        self.arrow((first, top - 4), (first, 112), _CLOUD)
        self.text(first + 10, 140, "keyframe", 11, _CLOUD)
        self.arrow((last, 112), (last, top - 4), _CLOUD)
        self.text(last - 10, 140, f"“{_shown(moment.reply.text, 28)}” + {_boxes(moment)}", 11, _CLOUD, ha="right")
        shown = [round(i * moment.arrival / (_SHOWN - 1)) for i in range(_SHOWN)]
        for at in shown:
            self.frame(at, top)
        y = top + _THUMB[1] + 20
        self.axes.plot([_MARGIN, _WIDTH - _MARGIN], [y, y], color="#cbd5e1", lw=1, zorder=1)
        for at, (frame, answer) in enumerate(zip(moment.frames, moment.answers, strict=True)):
            colour = _RIGHT if matches(answer.text, frame.answer) else _WRONG
            x, size = self.x(frame.frame.stamp), 9 if at in shown else 5
            if x < _WIDTH - _MARGIN:
                self.axes.plot(x, y, "o", color=colour, ms=size, mec="white", mew=0.8, zorder=2)

    def x(self, stamp: int) -> float:
        """Where a time is: the shown frames lie side by side."""
        first, last = _MARGIN + _THUMB[0] / 2, _WIDTH - _MARGIN - _THUMB[0] / 2
        return first + (stamp - self.start) / (self.moment.now.frame.stamp - self.start) * (last - first)

    def frame(self, at: int, top: float) -> None:
        moment = self.moment
        frame, answer = moment.frames[at], moment.answers[at]
        x = self.x(frame.frame.stamp)
        self.image(frame.frame.image, x - _THUMB[0] / 2, top, _THUMB)
        y = top + _THUMB[1] + 44
        seconds = (frame.frame.stamp - self.start) / 1e9
        self.text(x - _THUMB[0] / 2, y, f"{seconds:+.1f} s" if at else "0 s", 10, _FAINT)
        self.verdict(x, y, answer.text, frame.answer)
        if at == moment.arrival:
            self.verdict(x, y + 24, moment.alone[at].text, frame.answer, "without the reply: ", 10)

    def verdict(self, x: float, y: float, said: str, right: str, lead: str = "", size: float = 12.5) -> None:
        good = matches(said, right)
        mark, colour = ("✓", _RIGHT) if good else ("✗", _WRONG)
        weight = "normal" if lead else "bold"
        self.text(x, y, f"{lead}{_shown(said, 28)} {mark}", size, colour, ha="center", weight=weight)

    # -- below, left: what the words become --------------------------------------------------------------------------

    def words(self, x: float) -> None:
        moment, middle, y = self.moment, x + 258, _BELOW
        self.text(x, y, "Context replacement", 13, weight="bold")
        self.text(x, y + 24, "the reply takes the place of the small model's own answer in the history", 10, _FAINT)
        for left, title, history, asked in (
            (x, "before", moment.before.turns, moment.unhelped),
            (middle, "after", moment.after.turns, moment.helped),
        ):
            self.panel(left, y + 42, 244, 92)
            self.text(left + 10, y + 56, f"history {title}", 9, _FAINT)
            rows = self.turns(history)
            if dropped := len(moment.before.turns) - len(history):
                rows.append((f"({dropped} later answers dropped)", _FAINT))
            for row, (text, colour) in enumerate(rows):
                self.text(left + 10, y + 74 + 16 * row, text, 9, colour, family="DejaVu Sans Mono")
            self.panel(left, y + 142, 244, 166)
            self.text(left + 10, y + 156, f"prompt {title}", 9, _FAINT)
            self.prompt(left + 10, y + 174, asked)

    def turns(self, turns: tuple[Turn, ...]) -> list[tuple[str, str]]:
        """Rows of text with their colours."""
        rows = []
        for turn in turns:
            seconds, cloud = (turn.stamp - self.start) / 1e9, turn.source is Source.CLOUD
            rows.append(
                (f"{seconds:3.1f} s {turn.source.name.lower():5s} {_shown(turn.text, 20)}", _CLOUD if cloud else _INK)
            )
        if len(rows) > _TURNS:
            rows[_TURNS - 2 : -1] = [(f"… {len(rows) - _TURNS + 1} more", _FAINT)]
        return rows

    def prompt(self, x: float, y: float, asked: Asked) -> None:
        second = asked.answer.focus is not None and asked.answer.focus.crop is not None
        views = "(the frame) (its second view)" if second else "(the frame)"
        parts = [(text, _CLOUD) for told in asked.exchanges for text in (told.asked, f"→ {told.said}")]
        for text, colour in [*parts, (f"{views}\n{asked.question}", _INK)]:
            for line in text.splitlines():
                for row in textwrap.wrap(_shown(line, 200), 33):
                    self.text(x, y, row, 8.5, colour, family="DejaVu Sans Mono")
                    y += 14.5
        right = matches(asked.answer.text, self.moment.now.answer)
        said = f"→ {_shown(asked.answer.text, 28)}"
        self.text(x, y + 2, said, 9.5, _RIGHT if right else _WRONG, family="DejaVu Sans Mono", weight="bold")

    # -- below, right: what the boxes become -------------------------------------------------------------------------

    def boxes(self, x: float) -> None:
        moment, y = self.moment, _BELOW
        self.text(x, y, "Visual focus", 13, weight="bold")
        self.text(x, y + 24, "the reply's box is carried to the present frame and says where to look", 10, _FAINT)
        top, step = y + 42, _VIEW[0] + _GAP
        key, now, focus = moment.keyframe.frame, moment.now.frame, moment.helped.answer.focus
        self.image(key.image, x, top, _VIEW)
        for region in moment.reply.regions:
            self.box(region, (x, top), (key.width, key.height))
        self.caption(x, "keyframe, and the large model's box")
        self.arrow((x + _VIEW[0] + 2, top + _VIEW[1] / 2), (x + step - 2, top + _VIEW[1] / 2), _INK)
        self.image(now.image, x + step, top, _VIEW)
        if focus is None:
            return
        self.heat(focus.grid, x + step, top)
        for then, region in zip(moment.reply.regions, focus.regions, strict=False):
            self.box(then, (x + step, top), (key.width, key.height), dashed=True)
            self.box(region, (x + step, top), (now.width, now.height))
            self.trace(then, region, (x + step, top), (now.width, now.height))
        self.caption(x + step, f"carried; focus map on its {focus.grid.size} tokens")
        if focus.crop is not None:
            x0, y0, x1, y1 = focus.crop
            self.box(Region("", 1.0, *focus.crop), (x + step, top), (now.width, now.height), colour="white", width=1.0)
            self.arrow((x + step + _VIEW[0] + 2, top + _VIEW[1] / 2), (x + 2 * step - 2, top + _VIEW[1] / 2), _INK)
            self.image(now.image[y0:y1, x0:x1], x + 2 * step, top, _VIEW)
            self.caption(x + 2 * step, "second view, beside the whole frame")

        self.verdicts(x, top + _VIEW[1] + 36)

    def verdicts(self, x: float, y: float) -> None:
        moment, width = self.moment, _WIDTH - _MARGIN - x
        right = moment.now.answer
        self.panel(x, y, width, 38)
        self.text(x + 14, y + 19, f"truth: {_shown(right, 28)}", 10.5, _FAINT)
        for share, lead, asked in ((0.42, "without the reply: ", moment.unhelped), (0.8, "with it: ", moment.helped)):
            self.verdict(x + share * width, y + 19, asked.answer.text, right, lead, 12)

    def trace(self, then: Region, now: Region, corner: tuple[float, float], size: tuple[int, int]) -> None:
        """The way from the middle of a box to the edge of where it is now, if that is outside."""
        scale = np.array(_VIEW) / size
        start = np.array([then.x0 + then.x1, then.y0 + then.y1]) / 2
        way = np.array([now.x0 + now.x1, now.y0 + now.y1]) / 2 - start
        half = np.array([now.x1 - now.x0, now.y1 - now.y0]) / 2
        left = 1 - min(half / np.maximum(abs(way), 1e-6))
        if left > 0:
            (x0, y0), (x1, y1) = (np.array(corner) + scale * at for at in (start, start + left * way))
            self.arrow((float(x0), float(y0)), (float(x1), float(y1)), "white", 1.5)

    def caption(self, x: float, text: str) -> None:
        self.text(x, _BELOW + 42 + _VIEW[1] + 16, text, 9, _FAINT)

    def heat(self, grid: NDArray[np.float32], x: float, y: float) -> None:
        rows, cols = grid.shape
        rgba = np.dstack([np.broadcast_to(np.array(_HEAT), (rows, cols, 3)), 0.7 * grid / max(grid.max(), 1e-6)])
        extent = (x, x + _VIEW[0], y + _VIEW[1], y)
        self.axes.imshow(rgba, extent=extent, interpolation="nearest", aspect="auto", zorder=3)
        for row in range(1, rows):
            self.axes.plot(
                [x, x + _VIEW[0]], [y + row * _VIEW[1] / rows] * 2, color="white", lw=0.4, alpha=0.35, zorder=3
            )
        for col in range(1, cols):
            self.axes.plot(
                [x + col * _VIEW[0] / cols] * 2, [y, y + _VIEW[1]], color="white", lw=0.4, alpha=0.35, zorder=3
            )

    # -- what all is made of -----------------------------------------------------------------------------------------

    def text(self, x: float, y: float, text: str, size: float, colour: str = _INK, **how: Any) -> None:
        self.axes.text(x, y, text, fontsize=size * 72 / _DPI * 1.25, color=colour, va="center", zorder=6, **how)

    def image(self, rgb: NDArray[np.uint8], x: float, y: float, size: tuple[int, int]) -> None:
        smaller = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if rgb.shape[1] > size[0] else cv2.INTER_LINEAR)
        extent = (round(x), round(x) + size[0], y + size[1], y)
        self.axes.imshow(smaller, extent=extent, interpolation="nearest", aspect="auto", zorder=2)

    def box(
        self,
        region: Region,
        corner: tuple[float, float],
        size: tuple[int, int],
        dashed: bool = False,
        colour: str = "#ffbe50",
        width: float = 1.8,
    ) -> None:
        across, down = _VIEW[0] / size[0], _VIEW[1] / size[1]
        at = corner[0] + region.x0 * across, corner[1] + region.y0 * down
        wide, high = (region.x1 - region.x0) * across, (region.y1 - region.y0) * down
        style = (0, (3, 2)) if dashed else "-"
        self.axes.add_patch(Rectangle(at, wide, high, fill=False, ec=colour, lw=width, ls=style, zorder=4))

    def arrow(self, start: tuple[float, float], end: tuple[float, float], colour: str, width: float = 2.0) -> None:
        shape = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, color=colour, lw=width, zorder=5)
        shape.shrinkA = shape.shrinkB = 0
        self.axes.add_patch(shape)

    def panel(self, x: float, y: float, width: float, height: float) -> None:
        shape = FancyBboxPatch((x, y), width, height, "round,pad=0,rounding_size=6", fc=_PAPER, ec="#e2e8f0", lw=0.8)
        self.axes.add_patch(shape)


def _shown(text: str, most: int = 80) -> str:
    return clean_text(text, most)


def _boxes(moment: Moment) -> str:
    return "a box" if len(moment.reply.regions) == 1 else f"{len(moment.reply.regions)} boxes"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, default=Path("docs/images/method.png"), help="the PNG file (%(default)s)")
    add("--bag", default="demo", help="a bundled bag, or a rosbag2 with ground truth (%(default)s)")
    add("--question", default="What does the cart carry, and where is it?", help="one of the bag's (%(default)s)")
    add("--small", default="micro_svlm", metavar="MODEL", help="on the robot (%(default)s)")
    add("--large", default="micro_lvlm", metavar="MODEL", help="in the cloud (%(default)s)")
    add("--delay", type=float, default=2.4, metavar="S", help="seconds from a keyframe to its reply (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        frames = annotated_frames(bag_path(options.bag), most=10_000)
        question = Question(options.question)
        size = next(((f.frame.width, f.frame.height) for f in frames if f.question == question), (640, 480))
        small = load_engine(EngineSettings(model_path(options.small), device="cpu", threads=1))
        told = instruction("relative_1000", *size, max_regions=8)
        large = load_engine(
            EngineSettings(model_path(options.large), device="cpu", threads=1, system_prompt=told, max_new_tokens=256)
        )
    except (AssetError, BagError, EngineError) as error:
        print(f"figure: {error}", file=sys.stderr)
        return 1
    moment = best_moment(small, large, frames, question, options.delay)
    if moment is None:
        print(
            f"figure: after no keyframe of {options.bag} does a reply to {options.question!r} put the small model "
            f"right that comes {options.delay:g} s late; try another --delay or --question",
            file=sys.stderr,
        )
        return 1
    options.out.write_bytes(draw(moment))
    began = frames[0].frame.stamp
    seconds = (moment.keyframe.frame.stamp - began) / 1e9
    print(f"{options.out}: keyframe at {seconds:.1f} s of {options.bag}, {options.out.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""A frame with what the model sees in it burnt in: heat map, regions, second view, question, answer and context.

RViz shows images but blends nothing, so the picture is made here. What the cloud said, in words or boxes, is amber;
what the model on the robot says is green.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from math import ceil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.geometry import clamp
from edgevlm_ros.transfer.pruning import kept
from edgevlm_ros.transfer.types import Answer, FocusMap, Image, Region
from edgevlm_ros.transfer.views import dimmed
from edgevlm_ros.words import clean_text

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]

_EDGE: Colour = (130, 230, 130)
_CLOUD: Colour = (255, 190, 80)
_WHITE: Colour = (245, 245, 245)
_FAINT: Colour = (150, 150, 150)
_DARK: Colour = (22, 22, 22)
_HEAT: Colour = (255, 60, 90)
_HEAT_STRENGTH = 0.55  # of the colour where the map is 1
_UNSEEN = 0.3  # brightness left to the visual tokens that the decoder does not see
_ROWS = 4  # of the caption, however much there is to say: a video's pictures must be of one size


@dataclass(frozen=True, slots=True)
class _Words:
    """A part of the caption. lead: what it begins with, apart because it may change while the text stays.

    aside: faint, at the right.
    """

    lead: str
    text: str
    colour: Colour
    aside: str = ""


def render(image: Image, answer: Answer, rule: Focus | None = None) -> Image:
    """The overlay of an answered frame: (H, W, 3) uint8 RGB of the frame's own size plus a caption strip below it.

    The strip's height depends on the width alone. rule: how the answer was focused; without it, the visual tokens that
    the decoder was not shown are not marked.
    """
    height, width = image.shape[:2]
    size = _font_size(width)
    picture = np.empty((height + round((_ROWS + 0.5) * _row(size)), width, 3), np.uint8)
    picture[height:] = _DARK[0]
    focus = None if answer.focus is None else _drawable(answer.focus, width, height)
    picture[:height] = image if focus is None else _shown(image, focus, answer.focus_mode.split("+"), rule)
    if focus is not None:
        _mark(picture[:height], focus, answer.focus_mode)
    _write(picture[height:], _caption(answer), size)
    return picture


# -- the frame -------------------------------------------------------------------------------------------------------


def _drawable(focus: FocusMap, width: int, height: int) -> FocusMap:
    """The part of the focus that lies on the picture and is finite."""
    regions = tuple(on for region in focus.regions if (on := clamp(region, width, height)) is not None)
    window = None if focus.crop is None else clamp(Region("", 1.0, *focus.crop), width, height)
    crop = None if window is None else (int(window.x0), int(window.y0), int(window.x1), int(window.y1))
    return replace(focus, grid=np.clip(np.nan_to_num(focus.grid), 0.0, 1.0), regions=regions, crop=crop)


def _shown(image: Image, focus: FocusMap, modes: Collection[str], rule: Focus | None) -> Image:
    """The frame as the model is shown it, under the heat of the focus map."""
    if "overlay" in modes:
        image = dimmed(image, focus.regions, (rule or Focus()).dim)
    if "prune" in modes and rule is not None:
        image = _pruned(image, focus.grid, rule.keep)
    return _heated(image, focus.grid)


def _pruned(image: Image, grid: NDArray[np.float32], keep: float) -> Image:
    """The cells whose visual tokens the decoder does not see, darkened."""
    unseen = np.ones(grid.size, np.uint8)
    unseen[kept(grid.ravel(), keep)] = 0
    mask = cv2.resize(unseen.reshape(grid.shape), (image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST)
    return cv2.copyTo(cv2.convertScaleAbs(image, alpha=_UNSEEN), mask, image.copy())


def _heated(image: Image, grid: NDArray[np.float32]) -> Image:
    heat = cv2.resize((grid * 255).astype(np.uint8), (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    x, y, across, down = cv2.boundingRect(heat)
    if not across:
        return image
    hot, picture = np.s_[y : y + down, x : x + across], image.copy()
    colours, remains = _heat_tables()
    below = cv2.multiply(image[hot], cv2.applyColorMap(heat[hot], remains), scale=1 / 255)
    cv2.add(below, cv2.applyColorMap(heat[hot], colours), picture[hot])
    return picture


@cache
def _heat_tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """By heat, (256, 1, 3) uint8: the colour that is added, and what remains of the picture in 255ths."""
    heat = np.arange(256)[:, None]
    share = (heat / 255 * _HEAT_STRENGTH)[..., None]
    return (share * _HEAT).astype(np.uint8), np.repeat(255 * (1 - share), 3, axis=2).astype(np.uint8)


def _mark(picture: Image, focus: FocusMap, mode: str) -> None:
    """The regions, each with its label and the confidence that is left in it, the second view's corners, the mode."""
    line = max(1, round(2 * picture.shape[1] / 640))
    if focus.crop is not None:
        _corners(picture, focus.crop, line)
    for region in focus.regions:
        x0, y0 = int(region.x0), int(region.y0)
        cv2.rectangle(picture, (x0, y0), (max(x0, ceil(region.x1) - 1), max(y0, ceil(region.y1) - 1)), _CLOUD, line)
    for region in focus.regions:
        _tag(picture, region.label, f"{region.score:.2f}", _CLOUD, int(region.x0), int(region.y0))
    _tag(picture, "focus:", mode, _WHITE, 0, 0)


def _corners(picture: Image, window: Box, line: int) -> None:
    x0, y0, x1, y1 = window[0], window[1], window[2] - 1, window[3] - 1
    along = max(4, min(x1 - x0, y1 - y0) // 6)
    for x, inwards in ((x0, along), (x1, -along)):
        for y, down in ((y0, along), (y1, -along)):
            cv2.line(picture, (x, y), (x + inwards, y), _WHITE, line)
            cv2.line(picture, (x, y), (x, y + down), _WHITE, line)


def _tag(picture: Image, label: str, value: str, colour: Colour, x: int, y: int) -> None:
    """A label that stands on the upper left corner of a box, or below it where there is no room above."""
    height, width = picture.shape[:2]
    size = max(10, _font_size(width) - 2)
    gap = size // 4
    end = _length(value, size) + 2 * gap
    (label,) = _wrapped(label, size, width - end - gap, 1)
    start = gap + _length(label, size) + (gap if label else 0)
    x = max(0, min(x, width - start - end))
    high = round(1.35 * size)
    y = y - high if y >= high else max(0, min(y, height - high))
    picture[y : y + high, x : x + start + end - gap] = _DARK
    _tell(picture, x + gap, y + high // 2, label, colour, size)
    _tell(picture, x + start, y + high // 2, value, colour, size)


# -- the words -------------------------------------------------------------------------------------------------------


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which has most alphabets: the system's, or the one that comes with matplotlib. size: pixels."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        import matplotlib

        return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _font_size(width: int) -> int:
    return max(11, round(14 * width / 640))


def _row(size: int) -> int:
    return round(1.45 * size)


@lru_cache(512)
def _length(text: str, size: int) -> int:
    return ceil(font(size).getlength(text))


def _caption(answer: Answer) -> list[_Words]:
    sure = [f"{answer.confidence:.2f}"] if np.isfinite(answer.confidence) else []
    aside = " · ".join([*sure, f"{answer.inference_time * 1e3:.0f} ms"])
    if answer.context is None:
        state = "suspended, the scene has changed" if answer.suspended else "no words in use"
        cloud = _Words("cloud: ", state, _FAINT)
    else:
        age = max(0.0, (answer.stamp - answer.context.stamp) * 1e-9)
        lead = f"{answer.context.source.name.lower()}, {age:.1f} s ago: "
        cloud = _Words(lead, answer.context.text, _CLOUD)
    return [_Words("Q: ", answer.question.text, _WHITE), _Words("A: ", answer.text, _EDGE, aside), cloud]


def _write(strip: Image, caption: Sequence[_Words], size: int) -> None:
    """The caption onto the strip: a row for each part, and what rows are left for the last parts first."""
    left, right, row = size // 2, strip.shape[1] - size // 2, _row(size)
    parts: list[tuple[_Words, tuple[str, ...]]] = []
    free = _ROWS - len(caption)
    for words in reversed(caption):
        room = right - left - (_length(words.aside, size) + size if words.aside else 0)
        rows = _wrapped(words.text, size, room, 1 + free, _length(words.lead, size))
        free -= len(rows) - 1
        parts.insert(0, (words, rows))
    y = (strip.shape[0] - row * (_ROWS - free - 1)) // 2
    for words, rows in parts:
        _tell(strip, left, y, words.lead, words.colour, size)
        _tell(strip, right - _length(words.aside, size), y, words.aside, _FAINT, size)
        for at, text in enumerate(rows):
            _tell(strip, left if at else left + _length(words.lead, size), y, text, words.colour, size)
            y += row


def _tell(picture: Image, x: int, y: int, text: str, colour: Colour, size: int) -> None:
    """One row of text, as far as the picture goes. x: where it begins. y: its middle."""
    mask, left, top = _glyphs(text, size)
    x, y = x + left, y + top
    mask = mask[max(-y, 0) :, max(-x, 0) :]
    below = picture[max(y, 0) : max(y, 0) + len(mask), max(x, 0) : max(x, 0) + mask.shape[1]]
    share = mask[: below.shape[0], : below.shape[1], None]
    below[:] = (below * (255 - share) + share * np.array(colour, np.uint16)) // 255


@lru_cache(256)
def _glyphs(text: str, size: int) -> tuple[NDArray[np.uint16], int, int]:
    """A row of text as a mask in 0..255, and where its left upper corner lies.

    Most rows are the same in the next frame, and drawing them takes longer than all the rest.
    """
    left, top, right, bottom = (round(side) for side in font(size).getbbox(text, anchor="lm"))
    half = _row(size) // 2  # accents can be piled up without end
    top, bottom = max(top, -half), min(bottom, half)
    mask = PilImage.new("L", (max(right - left, 1), max(bottom - top, 1)))
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font(size), anchor="lm")
    return np.array(mask, np.uint16), left, top


@lru_cache(64)
def _wrapped(text: str, size: int, room: int, most: int, lead: int = 0) -> tuple[str, ...]:
    """The text in 1 to `most` rows at most `room` pixels wide; an ellipsis stands for what has no place.

    lead: pixels of the first row that are taken.
    """
    text = clean_text(text[: most * max(room, 0)], most * max(room, 0))
    rows: list[str] = []
    while text:
        free = room - (0 if rows else lead)
        end = _fitting(text, size, free)
        if end == len(text):
            rows.append(text)
            break
        if len(rows) == most - 1:
            rows.append(text[: _fitting(text, size, free - _length("…", size))].rstrip() + "…")
            break
        space = text.rfind(" ", 1, end + 1)
        end = space if space > 0 else max(end, 1)
        rows.append(text[:end])
        text = text[end:].lstrip()
    return tuple(rows) or ("",)


def _fitting(text: str, size: int, room: int) -> int:
    """How many characters of the text are at most `room` pixels wide."""
    text = text[: max(room, 0)]
    if _length(text, size) <= room:
        return len(text)
    return bisect_right(range(1, len(text) + 1), room, key=lambda length: _length(text[:length], size))

# SPDX-License-Identifier: Apache-2.0
"""A frame with what the model sees in it burnt in: heat map, regions, second view, question, answer and context.

RViz shows images but blends nothing, so the picture is made here.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.transfer.types import Answer, FocusMap, Image

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_EDGE = (120, 230, 120)
_CLOUD = (250, 190, 90)
_BOX = (90, 200, 250)
_WHITE = (245, 245, 245)
_HEAT_STRENGTH = 0.45


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    colour: tuple[int, int, int]


def render(image: Image, answer: Answer) -> Image:
    """The overlay of an answered frame: (H, W, 3) uint8 RGB of the frame's own size plus a caption strip below it."""
    picture = image.copy()
    if answer.focus is not None:
        picture = _heated(picture, answer.focus)
        _draw_regions(picture, answer.focus)
    return np.vstack([picture, _caption(answer, image.shape[1])])


def _heated(image: Image, focus: FocusMap) -> Image:
    height, width = image.shape[:2]
    heat = cv2.resize(focus.grid, (width, height), interpolation=cv2.INTER_LINEAR)
    colours = cv2.cvtColor(cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    weight = (heat * _HEAT_STRENGTH)[..., None]
    blended: NDArray[np.floating] = image * (1 - weight) + colours * weight
    return blended.astype(np.uint8)


def _draw_regions(picture: Image, focus: FocusMap) -> None:
    scale = picture.shape[1] / 640
    for region in focus.regions:
        corner = (round(region.x0), round(region.y0))
        cv2.rectangle(picture, corner, (round(region.x1), round(region.y1)), _BOX, max(1, round(2 * scale)))
        label = f"{printable(region.label)} {region.score:.2f}"
        cv2.putText(picture, label, (corner[0], max(12, corner[1] - 5)), _FONT, 0.5 * scale, _BOX, 1, cv2.LINE_AA)
    if focus.crop is not None:
        x0, y0, x1, y1 = focus.crop
        cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), _WHITE, 1)


def _caption(answer: Answer, width: int) -> Image:
    lines = [
        _Line(f"Q  {printable(answer.question.text)}", _WHITE),
        _Line(f"A  {printable(answer.text)}   ({answer.confidence:.2f}, {answer.inference_time * 1e3:.0f} ms)", _EDGE),
    ]
    if answer.context is None:
        lines.append(_Line("cloud: nothing yet", (150, 150, 150)))
    else:
        age = (answer.stamp - answer.context.stamp) * 1e-9
        lines.append(_Line(f"cloud, {age:.1f} s ago: {printable(answer.context.text)}", _CLOUD))
    scale = 0.55 * width / 640
    step = round(24 * width / 640)
    strip = np.full((step * len(lines) + step // 2, width, 3), 24, np.uint8)
    for row, line in enumerate(lines):
        cv2.putText(strip, line.text, (step // 3, step * (row + 1)), _FONT, scale, line.colour, 1, cv2.LINE_AA)
    return strip


def printable(text: str) -> str:
    """The text as OpenCV's fonts can draw it: ASCII, one line."""
    return " ".join(text.encode("ascii", "replace").decode().split())

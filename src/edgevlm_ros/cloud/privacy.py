# SPDX-License-Identifier: Apache-2.0
"""What of a frame stays on the robot: areas of the image, and things by their names, are hidden before it is sent.

This is no anonymiser. An area is a part of every frame. A thing is hidden where the large model itself has boxed it
before, so that the frame on which it is first seen goes up whole, and what leaves its box shows until the next reply.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.transfer.types import Region

_CELLS = 4
"""At most so many colours are left along a side of a hidden area: of 16 nobody makes a face or a word."""
_CELL = 8
"""Pixels along a side of what becomes one colour, at least."""
_MARGIN = 0.25
"""Of a box's size, added on each side: models box loosely and things move."""
_MOST_SEEN = 64


class PrivacyError(ValueError):
    """A rule that cannot be followed; the message names the parameter."""


class Area(NamedTuple):
    """A part of an image: fractions of its width and height, 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1."""

    x0: float
    y0: float
    x1: float
    y1: float


class Seen(NamedTuple):
    """Where a thing was that is to be hidden. until: seconds on the steady clock."""

    area: Area
    until: float


@dataclass(frozen=True, slots=True)
class Privacy:
    """areas: hidden in every frame. labels: of things to hide, words in lower case. hold: seconds for which a thing
    stays hidden where it was, counted from the last reply that boxed it there."""

    areas: tuple[Area, ...] = ()
    labels: tuple[str, ...] = ()
    hold: float = 30.0

    def names(self, label: str) -> bool:
        """Whether a region of this label is to be hidden: one of the labels stands in it, word for word."""
        words = f" {_words(label)} "
        return any(f" {wanted} " in words for wanted in self.labels)

    def seen(
        self, before: tuple[Seen, ...], regions: Iterable[Region], size: tuple[int, int], now: float
    ) -> tuple[Seen, ...]:
        """What is to be hidden after one more reply. size: width and height of its keyframe. now: steady clock."""
        fresh = [Seen(_grown(region, *size), now + self.hold) for region in regions if self.names(region.label)]
        places = {one.area: one for one in (*self.standing(before, now), *fresh)}
        return tuple(places.values())[-_MOST_SEEN:]

    def standing(self, seen: tuple[Seen, ...], now: float) -> tuple[Seen, ...]:
        return tuple(one for one in seen if one.until > now)

    def hidden(self, seen: tuple[Seen, ...], now: float) -> tuple[Area, ...]:
        """All that the next frame must not show."""
        return (*self.areas, *(one.area for one in self.standing(seen, now)))


class Hiding:
    """The rules at work: what replies have boxed is hidden in later frames. One thread learns, any other may ask."""

    def __init__(self, rules: Privacy) -> None:
        self.rules = rules
        self._seen: tuple[Seen, ...] = ()

    def learn(self, regions: Iterable[Region], size: tuple[int, int], now: float) -> None:
        """See Privacy.seen."""
        self._seen = self.rules.seen(self._seen, regions, size, now)

    def areas(self, now: float) -> tuple[Area, ...]:
        return self.rules.hidden(self._seen, now)


def read_privacy(areas: Sequence[str], labels: Sequence[str], hold: float) -> Privacy:
    """The rules from a node's parameters; raises PrivacyError."""
    named = tuple(_words(label) for label in labels)
    if not all(named):
        raise PrivacyError(
            f"privacy.blur_labels = {list(labels)}: a label has no words; expected [person, 'number plate']"
        )
    return Privacy(tuple(map(_area, areas)), named, hold)


def hide(rgb: NDArray[np.uint8], areas: Iterable[Area]) -> NDArray[np.uint8]:
    """A copy of an (H, W, 3) uint8 RGB image in which each area is a smear of at most 4 x 4 colours."""
    rgb = rgb.copy()
    height, width = rgb.shape[:2]
    for area in areas:
        x0, y0 = min(int(area.x0 * width), width - 1), min(int(area.y0 * height), height - 1)
        x1, y1 = max(x0 + 1, math.ceil(area.x1 * width)), max(y0 + 1, math.ceil(area.y1 * height))
        part = rgb[y0:y1, x0:x1]
        cells = [min(max(side // _CELL, 1), _CELLS) for side in part.shape[1::-1]]
        coarse = cv2.resize(part, cells, interpolation=cv2.INTER_AREA)
        rgb[y0:y1, x0:x1] = cv2.resize(coarse, part.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return rgb


def _area(text: str) -> Area:
    try:
        area = Area(*map(float, text.split()))
        if 0 <= area.x0 < area.x1 <= 1 and 0 <= area.y0 < area.y1 <= 1:
            return area
    except (ValueError, TypeError):
        pass
    raise PrivacyError(
        f"privacy.blur_areas: {text[:60]!r} is no area: left, top, right and lower edge as fractions of the image "
        "are expected, such as '0 0.8 1 1' for its lowest fifth"
    )


def _grown(region: Region, width: int, height: int) -> Area:
    dx, dy = _MARGIN * (region.x1 - region.x0), _MARGIN * (region.y1 - region.y0)
    x0, x1 = (min(max(x / width, 0.0), 1.0) for x in (region.x0 - dx, region.x1 + dx))
    y0, y1 = (min(max(y / height, 0.0), 1.0) for y in (region.y0 - dy, region.y1 + dy))
    return Area(x0, y0, x1, y1)


def _words(label: str) -> str:
    return " ".join(re.findall(r"\w+", label.casefold()))

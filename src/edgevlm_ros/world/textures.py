# SPDX-License-Identifier: Apache-2.0
"""Pictures on surfaces: the placards' and badges' pictograms, the machines' letters, floors and walls.

The pictograms are fine strokes with the same share of ink, so that an eye of low resolution sees equal grey squares:
which load or role it is can be known from near, or with better eyes, or by having been told.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 128
INK = 0.40  # share of a pictogram's inner area that is black
FLOORS = 8  # of which each look has its own
WALLS = 8


def pictogram(load: str) -> Image.Image:
    """(128, 128) greyscale placard with the stroke width that gives every load the same share of ink."""
    return _inked(lambda width: _draw_pictogram(load, width))


def role_badge(role: str) -> Image.Image:
    """(128, 128) greyscale badge, as fine as the placards and with the same share of ink for every role."""
    return _inked(lambda width: _draw_badge(role, width))


def _inked(drawn: Callable[[float], Image.Image]) -> Image.Image:
    low, high = 2.0, 26.0
    for _ in range(12):
        width = (low + high) / 2
        image = drawn(width)
        inner = np.asarray(image)[12:-12, 12:-12]
        low, high = (width, high) if float((inner < 128).mean()) < INK else (low, width)
    return _framed(image)


def _draw_badge(role: str, width: float) -> Image.Image:
    image = Image.new("L", (SIZE, SIZE), 255)
    draw = ImageDraw.Draw(image)
    stroke = max(1, round(width))
    slashes = (((18, 64), (64, 18)), ((20, 108), (108, 20)), ((64, 110), (110, 64)))
    if role == "driver":  # a road's marking: three slashes
        for ends in slashes:
            draw.line(ends, fill=0, width=stroke)
    elif role == "guest":  # the same fallen to the other side
        for ends in slashes:
            draw.line([(SIZE - x, y) for x, y in ends], fill=0, width=stroke)
    elif role == "fitter":  # a grating
        for at in (46, 82):
            draw.line([(at, 14), (at, 114)], fill=0, width=stroke)
            draw.line([(14, at), (114, at)], fill=0, width=stroke)
    elif role == "medic":  # a blister of nine pills
        for x in (30, 64, 98):
            for y in (30, 64, 98):
                draw.rectangle([x - 0.9 * width, y - 0.9 * width, x + 0.9 * width, y + 0.9 * width], fill=0)
    else:
        raise ValueError(f"no badge for role {role!r}; there are driver, fitter, guest and medic")
    return image


def _draw_pictogram(load: str, width: float) -> Image.Image:
    image = Image.new("L", (SIZE, SIZE), 255)
    draw = ImageDraw.Draw(image)
    stroke = max(1, round(width))
    if load == "acid":  # falling drops: three vertical strokes
        for x in (32, 64, 96):
            draw.line([(x, 18), (x, 110)], fill=0, width=stroke)
    elif load == "water":  # three waves
        for y in (32, 64, 96):
            points = [(x, y + 5 * math.sin((x - 14) / 100 * 4 * math.pi)) for x in range(14, 115)]
            draw.line(points, fill=0, width=stroke, joint="curve")
    elif load == "fuel":  # a flame: three chevrons
        for y in (14, 46, 78):
            draw.line([(18, y + 36), (64, y), (110, y + 36)], fill=0, width=stroke, joint="curve")
    elif load == "gas":  # a bottle from above: a ring around a disc
        draw.ellipse([16, 16, 112, 112], outline=0, width=stroke)
        draw.ellipse([64 - 1.3 * width, 64 - 1.3 * width, 64 + 1.3 * width, 64 + 1.3 * width], fill=0)
    else:
        raise ValueError(f"no pictogram for load {load!r}; there are acid, fuel, gas and water")
    return image


def letter(name: str) -> Image.Image:
    """(128, 128) greyscale plate with one bold letter."""
    image = Image.new("L", (SIZE, SIZE), 255)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=118)
    draw.text((64, 66), name, fill=0, font=font, anchor="mm", stroke_width=6, stroke_fill=0)
    return _framed(image)


def _framed(image: Image.Image) -> Image.Image:
    ImageDraw.Draw(image).rectangle([0, 0, SIZE - 1, SIZE - 1], outline=0, width=5)
    return image


def floor(index: int) -> Image.Image:
    rng = np.random.default_rng(100 + index)
    noise = _noise(rng, 256)
    if index == 0:  # concrete
        grey = 150 + 50 * noise
    elif index == 1:  # slabs with joints
        grey = 165 + 35 * noise
        grey[:4] = grey[:, :4] = 90
    elif index == 2:  # checker
        y, x = np.mgrid[:256, :256] // 128
        grey = np.where((x + y) % 2, 175, 120) + 20 * noise
    elif index == 3:  # planks
        grey = 140 + 25 * noise + 25 * np.sin(np.arange(256) // 32 * 2.1)[None, :]
        grey[:, ::32] = 80
    elif index == 4:  # terrazzo
        grey = 150 + 45 * np.sign(_noise(rng, 256)) * (np.abs(noise) > 0.3) + 15 * noise
    elif index == 5:  # tread plate: short diagonal ribs
        y, x = np.mgrid[:256, :256]
        grey = 145 + 20 * noise + np.where(((x + y) % 32 < 5) & (x % 64 < 40), 45.0, 0.0)
    elif index == 6:  # long tiles in half bond
        y, x = np.mgrid[:256, :256]
        grey = np.where((y % 64 < 4) | ((x + 64 * (y // 64)) % 128 < 4), 205.0, 150.0) + 25 * noise
    else:  # brushed screed
        grey = 155 + 30 * noise + 22 * np.sin(np.arange(256) / 256 * 2 * np.pi * 9)[:, None]
    return _grey(grey)


def wall(index: int) -> Image.Image:
    rng = np.random.default_rng(200 + index)
    noise = _noise(rng, 256)
    y, x = np.mgrid[:256, :256]
    if index == 0:  # plaster
        grey = 185 + 30 * noise
    elif index == 1:  # bricks
        shifted = x + 32 * ((y // 32) % 2)
        grey = np.where((y % 32 < 3) | (shifted % 64 < 3), 205.0, 140.0) + 25 * noise
    elif index == 2:  # corrugated sheet
        grey = 165 + 40 * np.sin(x / 256 * 2 * np.pi * 12) + 10 * noise
    elif index == 3:  # painted half
        grey = np.where(y > 150, 110.0, 205.0) + 15 * noise
    elif index == 4:  # concrete slabs with anchor holes
        grey = np.where((x % 128 < 3) | (y % 128 < 3), 120.0, 175.0) + 25 * noise
        grey[(x % 128 - 64) ** 2 + (y % 128 - 64) ** 2 < 40] = 70
    elif index == 5:  # boards, one above the other
        grey = 160 + 20 * noise + 25 * np.sin(y // 32 * 2.7)
        grey[y % 32 < 2] = 80
    elif index == 6:  # large tiles
        grey = np.where((x % 64 < 3) | (y % 64 < 3), 125.0, 200.0) + 15 * noise
    else:  # rough render with a dark band
        grey = np.where((y > 90) & (y < 130), 120.0, 170.0) + 45 * noise
    return _grey(grey)


def cardboard() -> Image.Image:
    grey = 205 + 25 * _noise(np.random.default_rng(300), 128)
    grey[:, 58:70] -= 45
    grey[20:34, 14:40] -= 90
    return _grey(grey)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Cloudy noise in about -1..1 that tiles."""
    total = np.zeros((size, size))
    for cells, weight in ((8, 0.5), (32, 0.3), (128, 0.25)):
        coarse = Image.fromarray(rng.uniform(-1, 1, (min(cells, size),) * 2).astype(np.float32))
        total += weight * np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
    return total


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))

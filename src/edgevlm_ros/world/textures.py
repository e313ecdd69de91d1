# SPDX-License-Identifier: Apache-2.0
"""Pictures on surfaces: the placards' pictograms, the machines' letters, floors and walls.

The four pictograms are fine strokes with the same share of ink, so that an eye of low resolution sees four equal grey
squares: which load it is can be known from near, or with better eyes, or by having been told.
"""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 128
INK = 0.40  # share of the placard's inner area that is black


def pictogram(load: str) -> Image.Image:
    """(128, 128) greyscale placard with the stroke width that gives every load the same share of ink."""
    low, high = 2.0, 26.0
    for _ in range(12):
        width = (low + high) / 2
        image = _draw_pictogram(load, width)
        inner = np.asarray(image)[12:-12, 12:-12]
        low, high = (width, high) if float((inner < 128).mean()) < INK else (low, width)
    return _framed(image)


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
    else:  # planks
        grey = 140 + 25 * noise + 25 * np.sin(np.arange(256) // 32 * 2.1)[None, :]
        grey[:, ::32] = 80
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
    else:  # painted half
        grey = np.where(y > 150, 110.0, 205.0) + 15 * noise
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

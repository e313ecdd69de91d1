# SPDX-License-Identifier: Apache-2.0
"""How models count the edges of a box, and how to get from there to pixels of the keyframe.

Each family was taught its own way, and a model that is asked for another one answers in its own often enough. So it is
asked in the way that it knows, which its name tells for the known families.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

BoxFormat = Literal["auto", "relative_1000", "relative_1000_yx", "relative_1", "pixels", "pixels_qwen2_5"]
BOX_FORMATS: tuple[str, ...] = get_args(BoxFormat)

_DEFAULT: BoxFormat = "relative_1000"
_FAMILIES: tuple[tuple[str, BoxFormat], ...] = (
    ("qwen25vl", "pixels_qwen2_5"),  # Qwen2.5-VL technical report, 2.1: absolute coordinates of the resized image
    ("gemini", "relative_1000_yx"),  # Gemini API, image understanding: [ymin, xmin, ymax, xmax], 0-1000
    ("qwen3", "relative_1000"),  # Qwen3-VL cookbook, 2d_grounding: 0-1000; later ones too (QwenLM/Qwen3.8-Flash-Next#4)
    ("qwen2vl", "relative_1000"),  # Qwen2-VL technical report: [0, 1000)
    ("internvl", "relative_1000"),  # InternVL documentation, grounding: 0-1000
    ("glm4", "relative_1000"),  # zai-org/glm-skills, glmv-grounding: 0-1000
    ("microlvlm", "relative_1000"),  # the bundled one
)
"""What a name holds, its letters and digits alone, and the way of the family. The first that fits counts."""

# Of Qwen2.5-VL's published preprocessor_config.json: 14 pixels a patch, 2 patches a token, 4 to 16384 tokens an image.
_FACTOR, _MIN_PIXELS, _MAX_PIXELS = 28, 56 * 56, 16384 * 28 * 28


@dataclass(frozen=True, slots=True)
class Convention:
    """How a model counts on one image. right, lower: what it calls the image's right and its lower edge.

    rows_first: y stands before x. words: what it is told about that. whole: whether numbers are integers. tokens: that
    the model's own processor makes of the image, where boxes depend on it; else 0.
    """

    right: float
    lower: float
    rows_first: bool
    words: str
    whole: bool = True
    tokens: int = 0

    @property
    def extent(self) -> tuple[float, float]:
        return self.right, self.lower

    @property
    def member(self) -> str:
        """The name under which a box stands in JSON: box_2d is Gemini's, bbox_2d Qwen's, and both mean their order."""
        return "box_2d" if self.rows_first else "bbox_2d"

    @property
    def corners(self) -> str:
        return "y0, x0, y1, x1" if self.rows_first else "x0, y0, x1, y1"


def known_format(model: str) -> BoxFormat | None:
    """The way of a model's family, by its name in any spelling; None for a name that tells nothing."""
    name = re.sub(r"[^a-z0-9]", "", model.lower())
    return next((box_format for family, box_format in _FAMILIES if family in name), None)


def resolved(box_format: BoxFormat, *models: str) -> BoxFormat:
    """The format itself; for auto that of the first name that tells one, else thousandths of the image."""
    if box_format != "auto":
        return box_format
    return next((known for model in models if (known := known_format(model))), _DEFAULT)


def convention(box_format: BoxFormat, width: int, height: int) -> Convention:
    """How boxes are counted on an image that was sent with width x height pixels. auto counts as thousandths."""
    if box_format == "relative_1":
        words = "Boxes are fractions of the image from 0 to 1, with three decimals: [0, 0, 1, 1] is all of it."
        return Convention(1.0, 1.0, False, words, whole=False)
    if box_format in ("pixels", "pixels_qwen2_5"):
        tokens = 0
        if box_format == "pixels_qwen2_5":
            width, height = qwen2_5_size(width, height)
            tokens = width * height // _FACTOR**2
        words = f"Boxes are pixels of the image, which is {width} wide and {height} high."
        return Convention(float(width), float(height), False, words, tokens=tokens)
    rows_first = box_format == "relative_1000_yx"
    words = "Boxes are integers from 0 to 1000, relative to the image: [0, 0, 1000, 1000] is all of it."
    return Convention(1000.0, 1000.0, rows_first, words)


def qwen2_5_size(width: int, height: int) -> tuple[int, int]:
    """The size to which Qwen2.5-VL's processor brings an image, in whose pixels the model counts.

    The rule is smart_resize of transformers.models.qwen2_vl with the published limits. Up to 1280 tokens (about 1000
    pixels square) every limit in use gives the same; a server with a lower max_pixels wants smaller uploads (max_side).
    """
    width, height = max(1, width), max(1, height)
    across, down = (round(side / _FACTOR) * _FACTOR for side in (width, height))
    if across * down > _MAX_PIXELS:
        scale = math.sqrt(width * height / _MAX_PIXELS)
        return _below(width / scale), _below(height / scale)
    if across * down < _MIN_PIXELS:
        scale = math.sqrt(_MIN_PIXELS / (width * height))
        return math.ceil(width * scale / _FACTOR) * _FACTOR, math.ceil(height * scale / _FACTOR) * _FACTOR
    return across, down


def _below(side: float) -> int:
    return max(_FACTOR, math.floor(side / _FACTOR) * _FACTOR)

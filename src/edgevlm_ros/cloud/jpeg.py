# SPDX-License-Identifier: Apache-2.0
"""A keyframe as it goes up: a JPEG no larger than the uplink and the LVLM can use.

A camera's own JPEG that is small enough is passed on byte for byte: decoding and encoding it again costs time on the
robot and detail in the image.
"""

import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from edgevlm_ros.images import to_jpeg


@dataclass(frozen=True, slots=True)
class Upload:
    """A JPEG of width x height pixels, made from an image of source_width x source_height."""

    jpeg: bytes
    width: int
    height: int
    source_width: int
    source_height: int


def encode(rgb: NDArray[np.uint8], max_side: int, quality: int) -> Upload:
    """Encode an (H, W, 3) uint8 RGB image, its longer side reduced to max_side pixels if it is longer."""
    height, width = rgb.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    sent = (max(1, round(width * scale)), max(1, round(height * scale)))
    if sent != (width, height):
        rgb = np.asarray(cv2.resize(rgb, sent, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return Upload(to_jpeg(rgb, quality), *sent, source_width=width, source_height=height)


def as_it_is(jpeg: bytes, max_side: int) -> Upload | None:
    """The upload that passes a whole colour JPEG on unchanged; None if it must be decoded: too large, cut, no JPEG.

    Nor one with EXIF data: it may tell the server to turn the image, under the boxes, and strangers where it was taken.
    """
    if not jpeg.startswith(b"\xff\xd8") or not jpeg.rstrip(b"\0").endswith(b"\xff\xd9"):
        return None
    try:
        with PilImage.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            (width, height), plain = image.size, image.mode == "RGB" and not image.getexif()
    except (OSError, ValueError, PilImage.DecompressionBombError):
        return None
    if not plain or max(width, height) > max_side:
        return None
    return Upload(jpeg, width, height, source_width=width, source_height=height)

# SPDX-License-Identifier: Apache-2.0
"""A camera's compressed image: a byte for the message's format, then the file; and the keyframe that is made of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.cloud.jpeg import as_it_is, without_metadata
from edgevlm_ros.images import MAX_PIXELS, ImageError, to_rgb

FORMATS = (
    "jpeg",
    "png",
    "rgb8; jpeg compressed bgr8",
    "bayer_rggb8; png compressed ",
    "16UC1; compressedDepth",
    "",
    "h264",
)
WORDS = (
    b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xdb", b"\xff\xdd", b"\xff\xe1",
    b"\xff\xee\x00\x0eAdobe", b"\xff\xe0\x00\x10JFIF\x00", b"\x89PNG\r\n\x1a\n", b"IHDR", b"IDAT", b"IEND", b"PLTE",
    b"acTL", b"fcTL", b"zTXt", b"iCCP", b"II*\x00", b"MM\x00*", b"RIFF", b"WEBP", b"VP8 ", b"VP8X", b"Exif\x00\x00",
)  # fmt: skip
LONGEST = 8192


def check(data: bytes) -> None:
    file = data[1:]
    rgb = pixels(file, FORMATS[data[0] % len(FORMATS)] if data else "")
    picture = without_metadata(file)
    if picture is None:
        assert as_it_is(file, 640) is None
        return
    assert without_metadata(picture) == picture, "nothing is left to leave out"
    assert len(picture) <= len(file)
    upload = as_it_is(file, 640)
    if upload is not None:
        assert upload.jpeg == picture
        assert max(upload.width, upload.height) <= 640
    if rgb is not None and rgb.size < 1 << 20 and (alone := pixels(picture, "jpeg")) is not None:
        assert alone.shape == rgb.shape, "the picture is the same without its metadata"


def pixels(file: bytes, format: str) -> NDArray[np.uint8] | None:
    """The image, or None if it is refused."""
    try:
        rgb = to_rgb(SimpleNamespace(format=format, data=np.frombuffer(file, np.uint8)))
    except ImageError as error:
        assert str(error)
        return None
    assert rgb.dtype == np.uint8
    assert rgb.ndim == 3
    assert rgb.shape[2] == 3
    assert 0 < rgb.shape[0] * rgb.shape[1] <= MAX_PIXELS
    return rgb

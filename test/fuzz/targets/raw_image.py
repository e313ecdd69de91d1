# SPDX-License-Identifier: Apache-2.0
"""A camera's raw image: eight bytes for the fields of the message, then its pixels, as they are or repeated to fit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from edgevlm_ros.images import ENCODINGS, ImageError, to_rgb

WORDS: tuple[bytes, ...] = ()
LONGEST = 512
NAMES = (*ENCODINGS, "16UC1", "32FC1", "8UC2", "", "h264", "rgb8\0", "RGB8", "bgr8 ")
_PIXEL = (1, 2, 3, 4, 6, 8)
_HALVES = (2, 3, 6)


def check(data: bytes) -> None:
    if len(data) < 9:
        return
    name, big, height, width, padding, pixel, halves, flags = data[:8]
    encoding, fill = NAMES[name % len(NAMES)], data[8:]
    if flags & 2:  # sizes that no memory holds
        height, width = height << 24, width << 24
    step = max(0, width * _PIXEL[pixel % len(_PIXEL)] + padding % 32 - 8)
    size = min(step * height * _HALVES[halves % len(_HALVES)] // 2, 1 << 20)
    if flags & 8:  # padding that the last row lacks, or bytes behind it
        size = max(0, size + (flags >> 4) - 8)
    if flags & 4:
        step = 0
    pixels = fill if flags & 1 else (fill * (size // len(fill) + 1))[:size]
    message = SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=big, step=step, data=np.frombuffer(pixels, np.uint8)
    )
    try:
        rgb = to_rgb(message)
    except ImageError as error:
        assert str(error)
        assert len(str(error)) < 1000
        return
    assert rgb.shape == (height, width, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert rgb.flags.writeable
    if encoding in ("rgb8", "bgr8", "mono8"):
        channels = 1 if encoding == "mono8" else 3
        step = step or width * channels
        padded = np.pad(message.data, (0, max(0, step * height - len(pixels))))[: step * height]
        rows = padded.reshape(height, step)[:, : width * channels].reshape(height, width, channels)
        np.testing.assert_array_equal(
            rgb, rows[..., ::-1] if encoding == "bgr8" else np.repeat(rows, 4 - channels, 2)[..., :3]
        )

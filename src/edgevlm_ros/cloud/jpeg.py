# SPDX-License-Identifier: Apache-2.0
"""A keyframe as it goes up: a JPEG no larger than the uplink and the LVLM can use, with a picture in it and no more.

A camera's own JPEG that is small enough is passed on with its picture byte for byte: decoding and encoding it again
costs time on the robot and detail in the image. Its metadata stay here: they may tell strangers where it was taken,
show them a thumbnail of what is hidden, or tell the server to turn the image, under the boxes.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from edgevlm_ros.cloud.privacy import Area, hide
from edgevlm_ros.images import to_jpeg

# Markers of ITU-T T.81, table B.1, whose segments make the picture: frames, Huffman tables, DQT, DNL, DRI.
_PICTURE = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD}) - {0xC8}
_SCAN, _END = 0xDA, 0xD9
_BEHIND_SCAN = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_JFIF, _ADOBE = (0xE0, b"JFIF\0", 16), (0xEE, b"Adobe", 14)
"""Which colours the numbers are: marker, beginning and length without a thumbnail."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A JPEG of width x height pixels, made from an image of source_width x source_height.

    hidden: how many areas of it are. features: what eyes on the robot have made of such a picture, see
    features.to_bytes; it goes up in place of the JPEG, which is empty then.
    """

    jpeg: bytes
    width: int
    height: int
    source_width: int
    source_height: int
    hidden: int = 0
    features: bytes = b""


def encode(rgb: NDArray[np.uint8], max_side: int, quality: int, hidden: Sequence[Area] = ()) -> Upload:
    """Encode an (H, W, 3) uint8 RGB image, its longer side reduced to max_side pixels if it is longer.

    hidden: what nobody may see.
    """
    height, width = rgb.shape[:2]
    rgb = shown(rgb, max_side, hidden)
    jpeg = to_jpeg(rgb, quality)
    return Upload(jpeg, rgb.shape[1], rgb.shape[0], source_width=width, source_height=height, hidden=len(hidden))


def shown(rgb: NDArray[np.uint8], max_side: int, hidden: Sequence[Area] = ()) -> NDArray[np.uint8]:
    """What of an image may leave the robot, (H, W, 3) uint8 RGB; see encode."""
    height, width = rgb.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    sent = (max(1, round(width * scale)), max(1, round(height * scale)))
    if sent != (width, height):
        rgb = np.asarray(cv2.resize(rgb, sent, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return hide(rgb, hidden) if hidden else rgb  # every sent pixel that an area touches


def as_it_is(jpeg: bytes, max_side: int) -> Upload | None:
    """The upload that passes the picture of a whole colour JPEG on unchanged.

    None if it must be decoded: too large, cut, no JPEG.
    """
    picture = without_metadata(jpeg)
    if picture is None:
        return None
    try:
        with PilImage.open(io.BytesIO(picture), formats=("JPEG",)) as image:
            (width, height), colour = image.size, image.mode == "RGB"
    except (OSError, ValueError, SyntaxError, PilImage.DecompressionBombError):
        return None
    if not colour or max(width, height) > max_side:
        return None
    return Upload(picture, width, height, source_width=width, source_height=height)


def without_metadata(jpeg: bytes) -> bytes | None:
    """The segments that make the picture, and none of the others: EXIF, XMP, thumbnails, profiles, comments, and what
    stands behind the end. None if there is no whole JPEG."""
    if not jpeg.startswith(b"\xff\xd8"):
        return None
    kept, at = [b"\xff\xd8"], 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + length
        if marker == _SCAN:
            behind = _BEHIND_SCAN.search(jpeg, end)
            if behind is None:
                return None
            end = behind.start()
        if marker == _SCAN or marker in _PICTURE or _tells_colours(marker, jpeg[at + 4 : at + 9], length):
            kept.append(jpeg[at:end])
        at = end
        if marker == _SCAN and jpeg[at + 1] == _END:
            return b"".join((*kept, b"\xff\xd9"))
    return None


def _tells_colours(marker: int, beginning: bytes, length: int) -> bool:
    return (marker, beginning, length) in (_JFIF, _ADOBE)

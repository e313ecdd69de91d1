# SPDX-License-Identifier: Apache-2.0
"""ROS images to RGB arrays, so that everything behind the nodes knows only (H, W, 3) uint8 RGB.

Messages may come from rclpy or from rosbags: only their fields matter. Whatever their bytes are, the one thing raised
is ImageError, which says what is wrong and what would be right. Pixels of raw images are converted by the
distribution's cv_bridge where it works, else by OpenCV: cv_bridge is not on PyPI, and one that was built against
another NumPy than torch brought fails when it converts.
"""

from __future__ import annotations

import io
import logging
import re
from array import array
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from edgevlm_ros.bag_metadata import video_codec
from edgevlm_ros.nearest import suggestion
from edgevlm_ros.words import clean_text

MAX_PIXELS = 64_000_000  # of a compressed image: a few bytes of header must not claim gigabytes


_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_PIXELS = 512  # in a byte: each 8x8 block takes one bit at least (ITU-T T.81, F.1.2.1)
_DARK = 1 << 12  # of 16 bits; what stays below has at most 15 of 255 when it is shown
_JPEG_WORK = 10 * MAX_PIXELS  # a progressive JPEG of libjpeg has ten scans, and each goes over all of the picture


log = logging.getLogger(__name__)


class ImageError(ValueError):
    """An image that cannot be used; the message says why, and what can."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """dtype and number of channels of a pixel; cv2's conversion to RGB, or None where it is RGB already; bytes of the
    whole image in halves of step x height: more than two where the colours lie behind all of the luma."""

    dtype: str
    channels: int
    to_rgb: int | None
    halves: int = 2


def _layouts() -> dict[str, _Layout]:
    gray, bgr, bgra, rgba = cv2.COLOR_GRAY2RGB, cv2.COLOR_BGR2RGB, cv2.COLOR_BGRA2RGB, cv2.COLOR_RGBA2RGB
    layouts = {
        f"{name}{bits}": _Layout(f"u{bits // 8}", channels, code)
        for bits in (8, 16)
        for name, channels, code in [
            ("mono", 1, gray),
            ("rgb", 3, None),
            ("bgr", 3, bgr),
            ("rgba", 4, rgba),
            ("bgra", 4, bgra),
            # OpenCV names a Bayer pattern after its second row, ROS after its first.
            ("bayer_rggb", 1, cv2.COLOR_BayerBG2RGB),
            ("bayer_bggr", 1, cv2.COLOR_BayerRG2RGB),
            ("bayer_gbrg", 1, cv2.COLOR_BayerGR2RGB),
            ("bayer_grbg", 1, cv2.COLOR_BayerGB2RGB),
        ]
    }
    for name, like in [("8UC1", "mono8"), ("8UC3", "bgr8"), ("8UC4", "bgra8")]:
        layouts[name] = layouts[like]
    for name in ("yuv422", "uyvy"):
        layouts[name] = _Layout("u1", 2, cv2.COLOR_YUV2RGB_UYVY)
    for name in ("yuv422_yuy2", "yuyv"):
        layouts[name] = _Layout("u1", 2, cv2.COLOR_YUV2RGB_YUYV)
    layouts["nv12"] = _Layout("u1", 1, cv2.COLOR_YUV2RGB_NV12, 3)
    layouts["nv21"] = _Layout("u1", 1, cv2.COLOR_YUV2RGB_NV21, 3)
    layouts["nv24"] = _Layout("u1", 1, cv2.COLOR_YUV2RGB_NV12, 6)
    return layouts


def _bridge() -> Any:
    """The distribution's cv_bridge, or None where it is missing or cannot convert with this NumPy."""
    try:
        from cv_bridge import CvBridge

        bridge = CvBridge()
        probe = bridge.cv2_to_imgmsg(np.zeros((2, 2, 3), np.uint8), "bgr8")
        return bridge if bridge.imgmsg_to_cv2(probe, "rgb8").shape == (2, 2, 3) else None
    except Exception:
        return None


_BRIDGE = _bridge()
_LAYOUTS = _layouts()
_DEPTH = ("16UC1", "32FC1", "64FC1", "32SC1", "16SC1")
_NUMBERS = re.compile(r"(8|16|32|64)[USF]C\d+")  # OpenCV's names of pixels that may mean anything
ENCODINGS = tuple(_LAYOUTS)


def to_rgb(message: Any) -> NDArray[np.uint8]:
    """sensor_msgs Image or CompressedImage -> (H, W, 3) uint8 RGB, contiguous and writable, not sharing its memory."""
    return _compressed_to_rgb(message) if hasattr(message, "format") else _image_to_rgb(message)


def _image_to_rgb(message: Any) -> NDArray[np.uint8]:
    height, width, encoding = int(message.height), int(message.width), str(message.encoding)
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise ImageError(f"encoding {_what(encoding)}; allowed are {', '.join(ENCODINGS)}. {_advice(encoding)}")
    if not (height > 0 and width > 0):
        raise ImageError(f"the image is {width}x{height}: it has no pixels. Look at what publishes it")
    dtype = np.dtype(layout.dtype).newbyteorder(">" if message.is_bigendian else "<")
    row, step = width * layout.channels * dtype.itemsize, int(message.step)
    there = len(message.data)
    if not step and there == row * height * layout.halves // 2:
        step = row  # some drivers leave it empty
    if step < row:
        raise ImageError(f"step is {step} bytes, but a row of {width} pixels {encoding} has {row}")
    if layout.halves == 3 and (height % 2 or width % 2):
        raise ImageError(f"a {width}x{height} image cannot be {encoding}: four pixels share a colour")
    size, share = step * height * layout.halves // 2, {2: "", 3: "1.5 x ", 6: "3 x "}[layout.halves]
    padding = (step - row) * (2 if layout.halves == 6 else 1)  # V4L2 drivers leave out that of the last row
    if there < size - padding:
        told = f"{share}step x height is {share}{step} x {height} = {size}"
        raise ImageError(f"data has {there} bytes, but {told}")
    if _BRIDGE is not None and encoding.endswith("8") and (there, int(message.step)) == (size, step):
        try:
            return np.array(_BRIDGE.imgmsg_to_cv2(message, "rgb8"))
        except Exception as error:
            raise ImageError(f"cv_bridge cannot convert this {encoding} image: {_first_line(error)}") from None
    data = np.frombuffer(message.data, np.uint8)[:size]  # GStreamer's buffers are longer
    if there < size:
        data = np.pad(data, (0, size - there))
    if layout.halves > 2:
        return _semi_planar(data, height, width, step, layout)
    rows = data.reshape(height, step)[:, :row]
    pixels = np.ascontiguousarray(rows).view(dtype).reshape(height, width, layout.channels)
    if dtype.itemsize == 2:
        pixels = _upper_bytes(pixels, message, encoding)
    if layout.to_rgb is None:
        return pixels.copy()
    try:
        return cv2.cvtColor(pixels, layout.to_rgb)  # type: ignore[return-value]
    except cv2.error as error:
        raise ImageError(f"a {width}x{height} image cannot be {encoding}: {_first_line(error)}") from None


_dark: set[tuple[str, str]] = set()  # cameras and encodings of which it was said
_MOST_DARK = 32  # a publisher may change its frame_id with each image


def _upper_bytes(pixels: NDArray[Any], message: Any, encoding: str) -> NDArray[np.uint8]:
    """16 bits as 8. The same numbers give the same pixels in every frame, so nothing is stretched: a sensor of 12 bits
    whose driver puts them at the lower end is nearly black, which is said once."""
    camera = clean_text(str(getattr(getattr(message, "header", None), "frame_id", "")), 64)
    is_new = (camera, encoding) not in _dark and len(_dark) < _MOST_DARK
    if is_new and 0 < (highest := int(pixels[::4, ::4].max())) < _DARK:
        _dark.add((camera, encoding))
        log.warning(
            "the %s images%s are nearly black: no value is above %d of 65535. If the sensor has 10 or 12 bits, let its "
            "driver publish 8 bits (mono8, bayer_rggb8, ...), or shift the values to the upper end of the 16",
            encoding,
            f" of {camera}" if camera else "",
            highest,
        )
    return (pixels >> 8).astype(np.uint8)


def _semi_planar(data: NDArray[np.uint8], height: int, width: int, step: int, layout: _Layout) -> NDArray[np.uint8]:
    """Luma of the whole image, then its colours, two bytes each: of 2x2 pixels in 1.5 x step x height bytes, of each
    pixel in 3 x."""
    assert layout.to_rgb is not None
    if layout.halves == 3:
        planes = np.ascontiguousarray(data.reshape(height * 3 // 2, step)[:, :width])
        return cv2.cvtColor(planes, layout.to_rgb)  # type: ignore[return-value]
    luma = data[: step * height].reshape(height, step)[:, :width]
    colours = data[step * height :].reshape(height, 2 * step)[:, : 2 * width]
    # an image of twice the size has these colours in the other layout, which OpenCV knows
    twice = np.vstack([luma.repeat(2, 0).repeat(2, 1), colours])
    return np.ascontiguousarray(cv2.cvtColor(twice, layout.to_rgb)[::2, ::2], np.uint8)


def _compressed_to_rgb(message: Any) -> NDArray[np.uint8]:
    encoding = str(message.format).partition(";")[0].strip()
    if encoding in _DEPTH or "compressedDepth" in message.format:
        raise ImageError(f"format {str(message.format)!r} is a depth image. {_advice('16UC1')}")
    data = bytes(message.data)
    if not data:
        raise ImageError("the compressed image is empty. Look at what publishes it")
    if data.startswith(b"\xff\xd8"):
        height, width = _check_jpeg(data)
    elif data.startswith(_PNG):
        height, width = _check_png(data)
    elif data.startswith((b"II*\0", b"MM\0*")) or (data[:4], data[8:12]) == (b"RIFF", b"WEBP"):
        height, width = _check_other(data)
    elif codec := video_codec(str(message.format)):
        raise ImageError(
            f"format {str(message.format)[:40]!r} is {codec} video, of which no frame can be decoded alone. Let the "
            "camera publish JPEG or raw images, or have the video decoded before (ros2 run image_transport republish)"
        )
    else:
        what = f"the compressed image (format {str(message.format)[:40]!r})"
        raise ImageError(f"{what} is neither JPEG nor PNG, TIFF or WebP")
    if not (height > 0 and width > 0):
        raise ImageError(f"the compressed image is {width}x{height}: it has no pixels")
    if height * width > MAX_PIXELS:
        raise ImageError(f"the compressed image is {width}x{height}: more than {MAX_PIXELS} pixels")
    depth = cv2.IMREAD_ANYDEPTH if data.startswith(_PNG) else 0
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION | depth
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"the compressed image cannot be decoded: {_first_line(error)}") from None
    if pixels is None:
        raise ImageError(f"the compressed image ({len(data)} bytes) is damaged and cannot be decoded")
    if pixels.dtype == np.uint16:
        pixels = _upper_bytes(pixels, message, encoding)
    if pixels.ndim == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]
    # image_transport compresses the mosaic of a Bayer camera as it is, and has its name in the format
    mosaic = _LAYOUTS.get(encoding) if encoding.startswith("bayer") else None
    to_rgb = cv2.COLOR_GRAY2RGB if mosaic is None or mosaic.to_rgb is None else mosaic.to_rgb
    return cv2.cvtColor(pixels, to_rgb)  # type: ignore[return-value]


def _check_jpeg(data: bytes) -> tuple[int, int]:
    """Height and width of a whole JPEG. Decoders fill what a cut one lacks with gray and say nothing, so look here."""
    size, at = None, 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            size = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
        at += 2 + length
        if marker == 0xDA:  # start of scan: 0xFF is followed by 0 in its data, so the end marker is unmistakable
            if size is None:
                break
            if data.find(b"\xff\xd9", at) < 0:
                raise ImageError(f"the JPEG is truncated: {len(data)} bytes and no end marker. Look at the transport")
            pixels, scans = size[0] * size[1], 1 + data.count(b"\xff\xda", at)
            if pixels > _JPEG_PIXELS * len(data):
                raise ImageError(f"the JPEG says {size[1]}x{size[0]} and has {len(data)} bytes: it cannot be whole")
            if pixels * scans > _JPEG_WORK:
                raise ImageError(f"the JPEG paints {size[1]}x{size[0]} pixels {scans} times: no camera does that")
            return size
    raise ImageError(f"the JPEG is truncated or damaged: {len(data)} bytes, and no picture begins in them")


def _check_png(data: bytes) -> tuple[int, int]:
    """Height and width of a whole PNG. OpenCV takes four gigabytes for a chunk that says it has them, so look here."""
    at = len(_PNG)
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data) or (at == len(_PNG)) != (kind == b"IHDR"):
            break
        if kind == b"IEND":
            return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
        at = end
    raise ImageError(f"the PNG is truncated or damaged: {len(data)} bytes and no end chunk. Look at the transport")


def _check_other(data: bytes) -> tuple[int, int]:
    """Height and width of a TIFF or WebP, which few cameras send; whether it is whole, the decoder says."""
    try:
        with PillowImage.open(io.BytesIO(data), formats=("TIFF", "WEBP")) as picture:
            return picture.height, picture.width
    except Exception as error:
        raise ImageError(f"the compressed image is damaged: {_first_line(error)}") from None


def _what(encoding: str) -> str:
    if encoding in _DEPTH:
        return f"{encoding} is a depth image"
    if _NUMBERS.fullmatch(encoding):
        return f"{encoding} does not say which colours its numbers are"
    return f"{suggestion(encoding[:40], ENCODINGS)} is unknown" if encoding else "is empty"


def _advice(encoding: str) -> str:
    return "Remap to the camera's colour topic" if encoding in _DEPTH else "Convert it with image_proc, or remap"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["OpenCV refuses it"])[0]


def to_image(header: Any, pixels: NDArray[Any], encoding: str) -> Any:
    """A sensor_msgs/Image for rclpy.

    pixels: as the encoding has them: (H, W, 3) uint8 for rgb8 and bgr8, (H, W) uint8 for mono8, float32 for 32FC1.
    """
    from sensor_msgs.msg import Image

    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding, step=pixels.nbytes // max(height, 1))
    message.data = array("B", pixels.tobytes())  # bytes would be checked one by one: 18 ms instead of 1 at 640x480
    return message


def to_compressed(header: Any, rgb: NDArray[np.uint8]) -> Any:
    """(H, W, 3) uint8 RGB -> a sensor_msgs/CompressedImage for rclpy, a JPEG."""
    from sensor_msgs.msg import CompressedImage

    message = CompressedImage(header=header, format="jpeg")
    message.data = array("B", to_jpeg(rgb))
    return message


def to_jpeg(rgb: NDArray[np.uint8], quality: int = 90) -> bytes:
    """(H, W, 3) uint8 RGB -> a JPEG file's bytes."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(f"a picture of shape {rgb.shape} cannot become a JPEG")
    return data.tobytes()

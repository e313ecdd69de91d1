# SPDX-License-Identifier: Apache-2.0
"""Videos and folders of images as bags, so that everything else needs to know only bags."""

from __future__ import annotations

import enum
import logging
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edgevlm_ros import images
from edgevlm_ros.bag_types import BagError, typestore
from edgevlm_ros.bag_writer import BagWriter

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
EPOCH = 1_700_000_000 * 10**9  # a video knows no date; the same source always gives the same stamps
FRAME_ID = "camera"

log = logging.getLogger(__name__)


class Kind(enum.Enum):
    """What a source is."""

    BAG = "rosbag2"
    VIDEO = "video"
    IMAGES = "folder of images"


class SourceError(BagError):
    """A path that is nothing to be played; the message says what it would have to be."""


def source_kind(path: str | Path) -> Kind:
    """What lies at a path."""
    path = Path(path).expanduser()
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    if path.is_dir():
        if any(next(path.glob(pattern), None) for pattern in ("metadata.yaml", "*.mcap", "*.db3")):
            return Kind.BAG
        if _pictures(path):
            return Kind.IMAGES
        raise SourceError(f"{path}: neither a rosbag2 (metadata.yaml) nor a folder of images ({' '.join(PICTURES)})")
    if path.suffix in (".mcap", ".db3", ".bag"):
        return Kind.BAG
    try:
        with av.open(str(path)) as container:
            if container.streams.video:
                return Kind.VIDEO
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"{path}: neither a bag nor a video that can be opened ({error.strerror})") from None
    raise SourceError(f"{path}: there is no video in it")


def convert(path: str | Path, bag: str | Path, rate: float = 5.0, width: int = 640, question: str = "") -> int:
    """Make a bag of a video or a folder of images; the number of frames in it.

    rate: frames per second: a video is thinned to it, images follow each other at it. width: pixels that no frame is
    wider than. question: the standing question, if the bag shall ask one.
    """
    path = Path(path).expanduser()
    kind = source_kind(path)
    if kind is Kind.BAG:
        raise SourceError(f"{path}: is a bag already")
    frames = video_frames(path, rate) if kind is Kind.VIDEO else _folder_frames(path, rate)
    count, types = 0, typestore().types
    with BagWriter(bag) as writer:
        for seconds, rgb in frames:
            stamp = EPOCH + round(seconds * 1e9)
            header = _header(stamp)
            rgb = _narrowed(rgb, width)
            if question and not count:
                writer.add_topic("/question", "edgevlm_msgs/msg/Question", latched=True)
                asked = types["edgevlm_msgs/msg/Question"](header, zlib.crc32(question.encode()), question)
                writer.write_message("/question", asked, stamp)
            writer.add_topic("/camera_info", "sensor_msgs/msg/CameraInfo", latched=True)
            writer.write_message("/camera_info", _camera_info(header, *rgb.shape[:2]), stamp)
            jpeg = np.frombuffer(images.to_jpeg(rgb), np.uint8)
            message = types["sensor_msgs/msg/CompressedImage"](header, "rgb8; jpeg compressed bgr8", jpeg)
            writer.write_message("/image/compressed", message, stamp)
            count += 1
        if not count:
            raise SourceError(f"{path}: not one frame of it can be decoded")
    return count


def video_frames(path: Path, rate: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """(seconds since the first frame, (H, W, 3) uint8 RGB), at most `rate` a second. A damaged rest is left out."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        total = int(container.duration / av.time_base * rate) if container.duration else None
        first, due = None, 0
        with tqdm(total=total, unit="frame", desc=path.name) as progress:
            try:
                for frame in container.decode(stream):
                    if frame.time is None:
                        continue
                    first = frame.time if first is None else first
                    seconds = frame.time - first
                    if seconds * rate >= due - 1e-6:
                        due = int(seconds * rate + 1e-6) + 1
                        progress.update()
                        yield seconds, np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            except av.FFmpegError as error:
                log.warning("%s: damaged after %d frames (%s); the rest is left out", path, progress.n, error.strerror)


def _folder_frames(path: Path, rate: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The same of a folder's images in the order of their names, where picture 2 comes before picture 10."""
    count = 0
    for file in tqdm(_pictures(path), unit="image", desc=path.name):
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if (data := file.read_bytes()) else None
        if bgr is None:
            log.warning("%s: cannot be decoded; it is left out", file)
            continue
        yield count / rate, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[misc]
        count += 1


def _pictures(folder: Path) -> list[Path]:
    files = (file for file in folder.iterdir() if file.suffix.lower() in PICTURES and file.is_file())
    return sorted(
        files, key=lambda file: [int(word) if word.isdigit() else word for word in re.split(r"(\d+)", file.name)]
    )


def _narrowed(rgb: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    if rgb.shape[1] <= width:
        return np.ascontiguousarray(rgb)
    size = width, max(1, round(rgb.shape[0] * width / rgb.shape[1]))
    return cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _header(stamp: int) -> Any:
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
    return types["std_msgs/msg/Header"](time, FRAME_ID)


def _camera_info(header: Any, height: int, width: int) -> Any:
    """Of a camera that nobody has calibrated: K is zero, as sensor_msgs/CameraInfo asks for."""
    types = typestore().types
    roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    return types["sensor_msgs/msg/CameraInfo"](
        header=header,
        height=height,
        width=width,
        distortion_model="",
        d=np.zeros(0),
        k=np.zeros(9),
        r=np.zeros(9),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )

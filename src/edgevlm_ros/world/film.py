# SPDX-License-Identifier: Apache-2.0
"""Scenes over time become a rosbag2: the frames as a camera gives them, the question, and the truth about each frame.

The demo drive and the streams of the datasets differ in what happens, not in how it is written down.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from PIL import Image

from edgevlm_ros.bag_types import typestore
from edgevlm_ros.bag_writer import BagWriter
from edgevlm_ros.world import questions as q
from edgevlm_ros.world.render import VERTICAL_FOV, Renderer
from edgevlm_ros.world.scene import Rgb, Scene

RATE = 5.0  # frames a second
EPOCH = 1_780_000_000 * 10**9  # stamp of a bag's first frame, nanoseconds: some day in 2026
FRAME_ID = "camera_optical_frame"


@dataclass(frozen=True, slots=True)
class Moment:
    """What happens at the time of one frame.

    t: seconds since the beginning. sweep: how far the image moves while the shutter is open, pixels right and down.
    exposure: what the sensor multiplies red, green and blue with. objects: by subject of questions.py, which individual
    thing of this film it is, from 1.
    """

    t: float
    question: str
    scene: Scene
    sweep: tuple[float, float] = (0.0, 0.0)
    exposure: Rgb = (1.0, 1.0, 1.0)
    objects: Mapping[str, int] = field(default_factory=dict)


def film_moments(
    bag: BagWriter, renderer: Renderer, moments: Iterable[Moment], *, quality: int, doubtful: bool, facts: bool
) -> None:
    """Writes image/compressed, camera_info, question and ground_truth, and facts if wanted.

    quality: of the JPEGs. doubtful: write a truth also where the frame leaves the answer open.
    """
    bag.add_topic("/camera_info", "sensor_msgs/msg/CameraInfo", latched=True)
    bag.add_topic("/question", "edgevlm_msgs/msg/Question", latched=True)
    size = renderer.width, renderer.height
    standing = ""
    for number, moment in enumerate(moments):
        stamp = EPOCH + round(moment.t * 1e9)
        if moment.question != standing:
            standing = moment.question
            bag.write_message("/question", _question(standing, stamp), stamp)
        if number == 0:
            bag.write_message("/camera_info", _camera_info(size, stamp), stamp)
        view = renderer.render(moment.scene)
        frame = photographed(view.rgb, moment)
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
        bag.write_message("/image/compressed", _compressed(buffer.getvalue(), stamp), stamp)
        seen = q.observe(moment.scene, view.classes)
        if doubtful or q.askable(standing, seen):
            bag.write_message("/ground_truth", _annotation(standing, seen, size, stamp), stamp)
        if facts:
            bag.write_message("/facts", _facts(standing, seen, moment.objects, stamp), stamp)


def photographed(rgb: np.ndarray, moment: Moment) -> np.ndarray:
    """What a moving camera makes of a rendered frame; both (H, W, 3) uint8."""
    dx, dy = moment.sweep
    if math.hypot(dx, dy) >= 0.5:
        rgb = blurred(rgb, dx, dy)
    if moment.exposure != (1.0, 1.0, 1.0):
        rgb = np.clip(rgb * np.asarray(moment.exposure, np.float32) + 0.5, 0, 255).astype(np.uint8)
    return rgb


def blurred(rgb: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """The mean of an image over its way of so many pixels right and down; both (H, W, 3) uint8."""
    height, width, _ = rgb.shape
    steps = math.ceil(math.hypot(dx, dy)) + 1
    total = np.zeros(rgb.shape, np.float32)
    for part in np.linspace(-0.5, 0.5, steps):
        shift = np.array([[1, 0, part * dx], [0, 1, part * dy]], np.float32)
        total += cv2.warpAffine(rgb, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.rint(total / steps).astype(np.uint8)


def told_facts(question: str, seen: q.Observation) -> tuple[q.Fact, ...]:
    """What the answer is made of; nothing where the frame does not tell whether what is asked about is there."""
    subject = q.subject_of(question, seen)
    candidates = q.MACHINES if question in q.PANEL and subject is None else (subject,)
    if any(candidate in seen.ambiguous for candidate in candidates):
        return ()
    return q.facts_of(question, seen)


def _type(name: str) -> Any:
    return typestore().types[name]


def _header(stamp: int) -> Any:
    time = _type("builtin_interfaces/msg/Time")(sec=stamp // 10**9, nanosec=stamp % 10**9)
    return _type("std_msgs/msg/Header")(stamp=time, frame_id=FRAME_ID)


def _question(text: str, stamp: int) -> Any:
    return _type("edgevlm_msgs/msg/Question")(header=_header(stamp), question_id=_id(text), text=text)


def _id(text: str) -> int:
    return zlib.crc32(text.encode())


def _compressed(jpeg: bytes, stamp: int) -> Any:
    data = np.frombuffer(jpeg, np.uint8)
    return _type("sensor_msgs/msg/CompressedImage")(header=_header(stamp), format="jpeg", data=data)


def _annotation(text: str, seen: q.Observation, size: tuple[int, int], stamp: int) -> Any:
    regions = []
    region = q.region_of(text, seen)
    if region is not None:
        label, box = region
        x0, y0, x1, y1 = (round(v * s) for v, s in zip(box, size * 2, strict=True))
        roi = _type("sensor_msgs/msg/RegionOfInterest")(
            x_offset=x0, y_offset=y0, width=x1 - x0, height=y1 - y0, do_rectify=False
        )
        regions = [_type("edgevlm_msgs/msg/Region")(label=label, score=1.0, box=roi)]
    return _type("edgevlm_msgs/msg/Annotation")(
        header=_header(stamp), question_id=_id(text), question=text, answer=q.answer(text, seen), regions=regions
    )


def _facts(text: str, seen: q.Observation, objects: Mapping[str, int], stamp: int) -> Any:
    facts = [
        _type("edgevlm_msgs/msg/Fact")(
            name=fact.name.removeprefix("second "),  # which of two machines it is, the object tells
            value=fact.value,
            object_id=objects.get(fact.subject, 0) if fact.subject in seen.boxes else 0,
            size=fact.size,
            edge_sees=fact.edge_sees,
            cloud_sees=fact.cloud_sees,
        )
        for fact in told_facts(text, seen)
    ]
    return _type("edgevlm_msgs/msg/Facts")(header=_header(stamp), question_id=_id(text), facts=facts)


def _camera_info(size: tuple[int, int], stamp: int) -> Any:
    """An ideal pinhole camera."""
    width, height = size
    focal = height / 2 / math.tan(VERTICAL_FOV / 2)
    k = np.array([focal, 0, width / 2, 0, focal, height / 2, 0, 0, 1], np.float64)
    p = np.array([focal, 0, width / 2, 0, 0, focal, height / 2, 0, 0, 0, 1, 0], np.float64)
    roi = _type("sensor_msgs/msg/RegionOfInterest")(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    return _type("sensor_msgs/msg/CameraInfo")(
        header=_header(stamp),
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k,
        r=np.eye(3).ravel(),
        p=p,
        binning_x=0,
        binning_y=0,
        roi=roi,
    )

# SPDX-License-Identifier: Apache-2.0
"""A clip becomes a bag that asks and knows: image/compressed, camera_info, question and ground_truth.

A node is asked one question at a time, and so is the bag: the question that stands is kept as long as the clip answers
it, else the next that it answers takes its place. The other answers are in the bag too: `edgevlm evaluate --question`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edgevlm_ros import images
from edgevlm_ros.bag_types import typestore
from edgevlm_ros.bag_writer import BagWriter
from edgevlm_ros.datasets.clip import Answer, Clip, DatasetError
from edgevlm_ros.evaluation.problems import Problems
from edgevlm_ros.evaluation.streaming import normalised
from edgevlm_ros.transfer.types import Image, Question, Region


def write_clip(clip: Clip, bag: Path, width: int, problems: Problems) -> Counter[str]:
    """How many frames each question is answered about; "" counts all frames. Raises BagError and leaves nothing then.

    width: pixels that no frame is wider than; boxes and intrinsics follow it.
    """
    count: Counter[str] = Counter()
    answers = tuple(_worded(clip, problems))
    with BagWriter(bag) as writer:
        writer.add_topic("/camera_info", "sensor_msgs/msg/CameraInfo", latched=True)
        writer.add_topic("/question", "edgevlm_msgs/msg/Question", latched=True)
        standing, stamp = "", 0
        for stamp, stored in tqdm(clip.pictures(), total=clip.total, unit="frame", desc=clip.name):
            image = narrowed(stored, width)
            scale = image.shape[1] / stored.shape[1]
            header = _header(stamp, clip.frame_id)
            if not count[""]:
                writer.write_message("/camera_info", _camera_info(header, image, clip.intrinsics, scale), stamp)
            said = held(answers, stamp, clip.name, problems)
            asked = next_question(standing, said)
            if asked != standing:
                standing = asked
                writer.write_message("/question", _type("edgevlm_msgs/msg/Question")(header, _id(asked), asked), stamp)
            jpeg = np.frombuffer(images.to_jpeg(image), np.uint8)
            message = _type("sensor_msgs/msg/CompressedImage")(header, "rgb8; jpeg compressed bgr8", jpeg)
            writer.write_message("/image/compressed", message, stamp)
            for answer in said:
                writer.write_message("/ground_truth", _annotation(header, answer, scale, image), stamp)
                count[answer.question] += 1
            count[""] += 1
        if not count[""]:
            raise DatasetError(f"{clip.name}: not one picture of it can be decoded")
        for answer in answers:
            if answer.since > stamp:
                problems.add("answer after the last frame, left out", f"{clip.name}: {answer.question!r}")
    return count


def held(answers: Sequence[Answer], stamp: int, clip: str, problems: Problems) -> list[Answer]:
    """What is said of this time, one answer a question: the first one's, if several are given."""
    found: dict[str, Answer] = {}
    for answer in answers:
        if answer.since <= stamp < answer.until:
            before = found.setdefault(normalised(answer.question), answer)
            if normalised(before.answer) != normalised(answer.answer):
                problems.add(
                    "second, different answer to a question about a frame, left out", f"{clip}: {answer.answer!r}"
                )
    return list(found.values())


def next_question(standing: str, said: Sequence[Answer]) -> str:
    """The question to ask from a frame on of which this is said."""
    if not said or any(normalised(answer.question) == normalised(standing) for answer in said):
        return standing
    return said[0].question


def narrowed(image: Image, width: int) -> Image:
    """The image, or a smaller one of its shape, at most so wide."""
    if image.shape[1] <= width:
        return np.ascontiguousarray(image)
    size = width, max(1, round(image.shape[0] * width / image.shape[1]))
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA), np.uint8)


def _worded(clip: Clip, problems: Problems) -> Iterator[Answer]:
    for answer in clip.answers:
        if normalised(answer.question) and normalised(answer.answer):
            yield answer
        else:
            problems.add("question or answer without words, left out", clip.name)


def _type(name: str) -> Any:
    return typestore().types[name]


def _id(question: str) -> int:
    return Question(question).id


def _header(stamp: int, frame_id: str) -> Any:
    time = _type("builtin_interfaces/msg/Time")(stamp // 10**9, stamp % 10**9)
    return _type("std_msgs/msg/Header")(time, frame_id)


def _annotation(header: Any, answer: Answer, scale: float, image: Image) -> Any:
    regions = [found for region in answer.regions if (found := _region(region, scale, image)) is not None]
    question = answer.question
    return _type("edgevlm_msgs/msg/Annotation")(header, _id(question), question, answer.answer, regions)


def _region(region: Region, scale: float, image: Image) -> Any | None:
    """None of what lies outside the image."""
    height, width = image.shape[:2]
    x0, x1 = (min(max(round(x * scale), 0), width) for x in (region.x0, region.x1))
    y0, y1 = (min(max(round(y * scale), 0), height) for y in (region.y0, region.y1))
    if x0 >= x1 or y0 >= y1:
        return None
    box = _type("sensor_msgs/msg/RegionOfInterest")(x0, y0, y1 - y0, x1 - x0, False)
    return _type("edgevlm_msgs/msg/Region")(region.label, region.score, box)


def _camera_info(header: Any, image: Image, intrinsics: NDArray[np.float64] | None, scale: float) -> Any:
    """K is zero of a camera that nobody has calibrated, as sensor_msgs/CameraInfo asks for."""
    known = intrinsics is not None
    k = np.diag([scale, scale, 1.0]) @ (intrinsics if intrinsics is not None else np.zeros((3, 3)))
    return _type("sensor_msgs/msg/CameraInfo")(
        header=header,
        height=image.shape[0],
        width=image.shape[1],
        distortion_model="plumb_bob" if known else "",
        d=np.zeros(5 if known else 0),
        k=k.ravel(),
        r=(np.eye(3) * known).ravel(),
        p=np.hstack([k, np.zeros((3, 1))]).ravel(),
        binning_x=0,
        binning_y=0,
        roi=_type("sensor_msgs/msg/RegionOfInterest")(0, 0, 0, 0, False),
    )

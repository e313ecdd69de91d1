# SPDX-License-Identifier: Apache-2.0
"""DriveLM-nuScenes: questions about nuScenes' keyframes that name objects by camera and place.

Format: OpenDriveLab/DriveLM, docs/data_prep_nus.md and challenge/data/train_sample.json; v1_0 and v1_1 JSON.
`<c1,CAM_FRONT,714.3,503.6>` in a question or an answer is an object of key_object_infos, with its box in pixels.
Traffic elements are listed as `(traffic light, green, 674.86, 0.14, 723.33, 109.18)`: the edges of their boxes, pixels
of the front camera, though the question speaks of offsets. What is asked about another camera's view is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgevlm_ros.datasets import nuscenes
from edgevlm_ros.datasets.clip import Answer, Clip, DatasetError
from edgevlm_ros.datasets.nuscenes import Scene
from edgevlm_ros.datasets.tables import read_json
from edgevlm_ros.evaluation.problems import Problems
from edgevlm_ros.transfer.types import Region

TYPES = ("perception", "prediction", "planning", "behavior")
WIDTH = 1600
"""Pixels of nuScenes' pictures, which the numbers in the texts are of."""

_OBJECT = re.compile(r"<(c\d+),(\w+),(\d+(?:\.\d*)?),(\d+(?:\.\d*)?)>")
_NUMBER = r"(-?\d+(?:\.\d*)?)"
_ELEMENT = re.compile(rf"\(([^(),]{{1,80}}), ([^(),]{{1,80}}), {_NUMBER}, {_NUMBER}, {_NUMBER}, {_NUMBER}\)")
_FRONT = "CAM_FRONT"


def read_frames(path: Path) -> dict[str, dict[str, Any]]:
    """Keyframes (key_object_infos, QA) by sample token. Raises DatasetError."""
    whole = read_json(path)
    if not isinstance(whole, dict) or not all(isinstance(s, dict) and "key_frames" in s for s in whole.values()):
        raise DatasetError(f'{path}: is not DriveLM, which is {{scene token: {{"key_frames": {{...}}}}}}')
    frames: dict[str, dict[str, Any]] = {}
    for scene in whole.values():
        for token, frame in scene["key_frames"].items():
            if not isinstance(frame, dict) or not isinstance(frame.get("QA"), dict):
                raise DatasetError(f'{path}: the keyframe {token} has no "QA"')
            frames[token] = frame
    return frames


def clips(
    scenes: Sequence[Scene],
    frames: dict[str, dict[str, Any]],
    camera: str,
    types: Sequence[str],
    width: int,
    problems: Problems,
) -> Iterator[Clip]:
    """Scenes of which something is asked. width: that the pictures will be narrowed to, and the places in the texts."""
    scale = min(1.0, width / WIDTH)
    for scene in scenes:
        answers: list[Answer] = []
        for sample, span in nuscenes.held_until(scene).items():
            if sample in frames:
                answers += frame_answers(frames[sample], span, camera, types or TYPES, scale, problems)
        if answers:
            yield nuscenes.clip(scene, answers, problems)


def frame_answers(
    frame: dict[str, Any], span: tuple[int, int], camera: str, types: Sequence[str], scale: float, problems: Problems
) -> Iterator[Answer]:
    """Boxes belong to the keyframe alone: a moment later the object is elsewhere."""
    since, until = span
    objects = frame.get("key_object_infos") or {}
    for kind in types:
        for pair in frame["QA"].get(kind) or ():
            if not isinstance(pair, dict):
                problems.add("question that is no object with Q and A, left out", repr(pair))
                continue
            question, answer = str(pair.get("Q") or ""), str(pair.get("A") or "")
            named = list(_OBJECT.finditer(f"{question} {answer}"))
            if any(tag[2] != camera for tag in named):
                problems.add(f"question about an object that {camera} does not see, left out", repr(question))
                continue
            if "front view" in question and camera != _FRONT:
                problems.add(f"question about the front view, which {camera} does not see, left out", repr(question))
                continue
            tagged = filter(None, (_region(tag[0], objects) for tag in named))
            regions = tuple(dict.fromkeys([*tagged, *_elements(answer)]))
            question, answer = places_scaled(question, scale), places_scaled(answer, scale)
            if regions:
                yield Answer(since, since + 1, question, answer, regions)
                yield Answer(since + 1, until, question, answer)
            else:
                yield Answer(since, until, question, answer)


def places_scaled(text: str, scale: float) -> str:
    """The text about a picture of another size: places in it are pixels, and the model sees the narrowed picture."""

    def edges(element: re.Match[str]) -> str:
        return f"({element[1]}, {element[2]}, {', '.join(f'{float(element[at]) * scale:.2f}' for at in range(3, 7))})"

    text = _ELEMENT.sub(edges, text)
    return _OBJECT.sub(lambda tag: f"<{tag[1]},{tag[2]},{float(tag[3]) * scale:.1f},{float(tag[4]) * scale:.1f}>", text)


def _elements(answer: str) -> Iterator[Region]:
    """Traffic elements that an answer lists, in pixels of nuScenes' picture."""
    for element in _ELEMENT.finditer(answer):
        x0, y0, x1, y1 = (float(element[at]) for at in range(3, 7))
        yield Region(element[1] if element[2] == "unknown" else f"{element[1]}, {element[2]}", 1.0, x0, y0, x1, y1)


def _region(tag: str, objects: dict[str, Any]) -> Region | None:
    """None of an object whose box is not given."""
    known = objects.get(tag) or {}
    box = known.get("2d_bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, int | float) for side in box):
        return None
    x0, y0, x1, y1 = map(float, box)
    return Region(str(known.get("Visual_description") or known.get("Category") or ""), 1.0, x0, y0, x1, y1)

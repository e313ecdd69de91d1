# SPDX-License-Identifier: Apache-2.0
"""Regions on their way from the keyframe to now.

A Tracks never changes; every frame gives a new one. How well a region still looks like what it was on the keyframe is
measured on every frame anew, so that one which has slipped off its object is no longer trusted, however smoothly it
slipped.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.tracking.flow import flowed
from edgevlm_ros.tracking.glimpse import Glimpse
from edgevlm_ros.tracking.matching import matched
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.geometry import clamp
from edgevlm_ros.transfer.types import CloudContext, Region

_SPEED = 0.3  # of the frame, each second: how far things get
_SIDE = 12  # of what is compared of a box, pixels
# Likeness below which a region is elsewhere and above which it is there, by what was compared; of regions halfway in
# between, about half are on their object. python -m edgevlm_ros.evaluation.carrying bags/demo, 2026-11-22.
_SURE = {"flow": (0.1, 0.5), "features": (0.4, 0.8)}


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The regions of one context on the frame of stamp `stamp`.

    regions: as they were on the keyframe, whose stamp is `keyframe_stamp`. origins, boxes: (n, 4) float64, where they
    were then and where they are now, x0 y0 x1 y1 in 0..1 of the frame. quality: (n,) in 0..1, how sure it is that they
    still are on what they were on.
    """

    stamp: int
    keyframe_stamp: int
    keyframe: Glimpse | None
    regions: tuple[Region, ...]
    origins: NDArray[np.float64]
    boxes: NDArray[np.float64]
    quality: NDArray[np.float64]


def begin(context: CloudContext, keyframe: Glimpse | None) -> Tracks:
    """The regions where the context says that they are.

    keyframe: None if no such frame is remembered. There is nothing to compare then, and no region is trusted.
    """
    regions = context.regions if context.width > 0 and context.height > 0 else ()
    size = np.array([context.width, context.height] * 2, np.float64)
    boxes = np.array([(r.x0, r.y0, r.x1, r.y1) for r in regions], np.float64).reshape(-1, 4) / np.maximum(size, 1)
    return Tracks(context.stamp, context.stamp, keyframe, regions, boxes, boxes, _quality(boxes, keyframe))


def with_keyframe(tracks: Tracks, keyframe: Glimpse | None) -> Tracks:
    """The tracks that began without their keyframe, now that it may be remembered."""
    return replace(tracks, keyframe=keyframe, quality=_quality(tracks.boxes, keyframe))


def _quality(boxes: NDArray[np.float64], keyframe: Glimpse | None) -> NDArray[np.float64]:
    return np.full(len(boxes), 0.0 if keyframe is None else 1.0)


def advance(tracks: Tracks, previous: Glimpse | None, now: Glimpse, method: str) -> Tracks:
    """The tracks on the frame `now`. method: of transfer.focus.CARRY_MODES.

    previous: the frame that they are on, for flow. What cannot be followed is looked for among the patches, or stays
    where it is and is not trusted until its likeness is seen there. What cannot be compared with the keyframe is not
    trusted: on a frame of another shape (the camera was turned, or cut) none is. Without a keyframe nothing changes.
    """
    keyframe = tracks.keyframe
    if now.stamp <= tracks.stamp or keyframe is None:
        return tracks
    tracks = replace(tracks, stamp=now.stamp)
    if not tracks.regions or method == "none":
        return tracks
    if now.gray.shape != keyframe.gray.shape:
        return replace(tracks, quality=np.zeros(len(tracks.boxes)))
    if method == "features":
        boxes, alike = matched(keyframe.patches, now.patches, tracks.origins, _radius(tracks))
        return replace(tracks, boxes=boxes, quality=_trust(alike, method))
    boxes, followed = tracks.boxes.copy(), np.zeros(len(tracks.boxes), bool)
    if previous is not None and previous.gray.shape == now.gray.shape:
        boxes, followed = flowed(previous.gray, now.gray, tracks.boxes)
    alike = np.where(followed, likeness(keyframe.gray, tracks.origins, now.gray, boxes), 0.0)
    _find_again(tracks, now, boxes, alike)
    return replace(tracks, boxes=boxes, quality=_trust(alike, method))


def _find_again(tracks: Tracks, now: Glimpse, boxes: NDArray[np.float64], alike: NDArray[np.float64]) -> None:
    """Puts the boxes that lost what they held where that is found now, if patches and likeness agree that it is it."""
    keyframe, lost = tracks.keyframe, np.flatnonzero(alike <= _SURE["flow"][0])
    if keyframe is None or not len(lost):
        return
    origins = tracks.origins[lost]
    found, cosines = matched(keyframe.patches, now.patches, origins, _radius(tracks))
    alike_there = likeness(keyframe.gray, origins, now.gray, found)
    sure = (_trust(cosines, "features") >= 0.5) & (alike_there >= _SURE["flow"][1])
    boxes[lost[sure]], alike[lost[sure]] = found[sure], alike_there[sure]


def _radius(tracks: Tracks) -> float:
    return min(_SPEED * (tracks.stamp - tracks.keyframe_stamp) * 1e-9, 1.0)


def _trust(alike: NDArray[np.float64], compared: str) -> NDArray[np.float64]:
    elsewhere, there = _SURE[compared]
    return np.clip((alike - elsewhere) / (there - elsewhere), 0.0, 1.0)


def likeness(
    then: NDArray[np.uint8], origins: NDArray[np.float64], now: NDArray[np.uint8], boxes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Correlation of what each box holds now with what it held then, (n,) in -1..1."""
    before, after = _patches(then, origins), _patches(now, boxes)
    return (before * after).sum(1)


def _patches(gray: NDArray[np.uint8], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each box holds, (n, pixels), mean-free and of unit length."""
    height, width = gray.shape
    held = np.empty((len(boxes), _SIDE, _SIDE), np.float64)
    for i, (x0, y0, x1, y1) in enumerate(boxes * (width, height, width, height)):
        x_step, y_step = (x1 - x0) / _SIDE, (y1 - y0) / _SIDE
        to_image = np.array([[x_step, 0, x0 + x_step / 2 - 0.5], [0, y_step, y0 + y_step / 2 - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        held[i] = cv2.warpAffine(gray, to_image, (_SIDE, _SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    flat = held.reshape(len(boxes), -1)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def regions(tracks: Tracks, now: int, width: int, height: int, rule: Focus) -> tuple[Region, ...]:
    """The regions in pixels of a width x height frame of stamp `now`, each with the confidence that is left in it.

    It falls with age, with the likeness to the keyframe, and as a region leaves the view.
    """
    if now < tracks.keyframe_stamp:
        return ()
    trust = 0.5 ** ((now - tracks.keyframe_stamp) * 1e-9 / rule.half_life) * tracks.quality
    visible = np.clip(tracks.boxes, 0.0, 1.0)
    sides, seen_sides = tracks.boxes[:, 2:] - tracks.boxes[:, :2], visible[:, 2:] - visible[:, :2]
    trust *= seen_sides.prod(1) / np.maximum(sides.prod(1), 1e-12)
    moved = []
    for region, score, box in zip(tracks.regions, trust, visible * (width, height, width, height), strict=True):
        here = clamp(Region(region.label, region.score * float(score), *box.tolist()), width, height)
        if here is not None and here.score >= rule.min_confidence:
            moved.append(here)
    return tuple(moved)

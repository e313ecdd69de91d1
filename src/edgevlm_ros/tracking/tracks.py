# SPDX-License-Identifier: Apache-2.0
"""Regions on their way from the keyframe to now.

A Tracks never changes; every frame gives a new one. How well a region still looks like what it was on the keyframe is
measured on every frame anew, so that one which has slipped off its object is no longer trusted, however smoothly it
slipped.

Errors of optical flow add up from frame to frame, and where two things cross it follows the nearer one. So there are
three proposals for a box: flow from an anchor frame up to half a second old, flow from the frame before, and where the
box gets at its own velocity while the camera moves as it does. The one that looks most like the keyframe is taken, less
what it deviates from the expected motion.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.tracking.flow import flowed
from edgevlm_ros.tracking.glimpse import Glimpse
from edgevlm_ros.tracking.matching import best_match, matched
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.geometry import clamp
from edgevlm_ros.transfer.types import CloudContext, Region

_SPEED = 0.3  # of the frame, each second: how far things get
_SIDE = 12  # of what is compared of a box, pixels
_WHOLE = np.array([[0.0, 0.0, 1.0, 1.0]])
# Likeness below which a region is elsewhere and above which it is there, by what was compared; of regions halfway in
# between, about half are on their object. python -m edgevlm_ros.evaluation.carrying bags/demo, 2026-11-22.
_SURE = {"flow": (0.1, 0.5), "features": (0.4, 0.8)}

# python -m edgevlm_ros.evaluation.carrying bags/demo, and vtest.avi, 2026-12-01
_ANCHOR_NS = 450_000_000  # age at which the frame at hand becomes the anchor
_STEP_COST = 0.1  # by so much more like the keyframe must a box be that was led there from the frame before,
_EXPECTED_COST = 0.1  # or that goes on as before without being seen
_DEVIATION_COST = 0.2  # for each side of a box a second by which its velocity changes
_SEEN = 0.3  # likeness from which a box counts as seen; below it is lost,
_SEEN_WELL = 0.4  # and from which its velocity is learnt
_VELOCITY_S = 0.5  # time constant of a box's velocity
_FASTEST = 1.0  # velocity that is believed, in frames a second
_FOUND = 0.7  # likeness of what a lost box is put on
_SEARCH_SPEED = 0.15  # how far a lost box is looked for, in widths of the frame a second


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The regions of one context on the frame of stamp `stamp`.

    regions: as they were on the keyframe, whose stamp is `keyframe_stamp`. origins, boxes: (n, 4) float64, where they
    were then and where they are now, x0 y0 x1 y1 in 0..1 of the frame. quality: (n,) in 0..1, how sure it is that they
    still are on what they were on. anchor: an earlier frame, where they were at anchored (n, 4). velocity: (n, 2), of
    the frame a second, on top of the camera's motion. seen: (n,) stamps at which they were last recognised.
    """

    stamp: int
    keyframe_stamp: int
    keyframe: Glimpse | None
    regions: tuple[Region, ...]
    origins: NDArray[np.float64]
    boxes: NDArray[np.float64]
    quality: NDArray[np.float64]
    anchor: Glimpse | None
    anchored: NDArray[np.float64]
    velocity: NDArray[np.float64]
    seen: NDArray[np.int64]


def begin(context: CloudContext, keyframe: Glimpse | None) -> Tracks:
    """The regions where the context says that they are.

    keyframe: None if no such frame is remembered. There is nothing to compare then, and no region is trusted.
    """
    regions = context.regions if context.width > 0 and context.height > 0 else ()
    size = np.array([context.width, context.height] * 2, np.float64)
    boxes = np.array([(r.x0, r.y0, r.x1, r.y1) for r in regions], np.float64).reshape(-1, 4) / np.maximum(size, 1)
    return Tracks(
        stamp=context.stamp,
        keyframe_stamp=context.stamp,
        keyframe=keyframe,
        regions=regions,
        origins=boxes,
        boxes=boxes,
        quality=_quality(boxes, keyframe),
        anchor=keyframe,
        anchored=boxes,
        velocity=np.zeros((len(boxes), 2)),
        seen=np.full(len(boxes), context.stamp),
    )


def with_keyframe(tracks: Tracks, keyframe: Glimpse | None) -> Tracks:
    """The tracks that began without their keyframe, now that it may be remembered."""
    return replace(tracks, keyframe=keyframe, anchor=keyframe, quality=_quality(tracks.boxes, keyframe))


def _quality(boxes: NDArray[np.float64], keyframe: Glimpse | None) -> NDArray[np.float64]:
    return np.full(len(boxes), 0.0 if keyframe is None else 1.0)


def advance(tracks: Tracks, previous: Glimpse | None, now: Glimpse, method: str) -> Tracks:
    """The tracks on the frame `now`. method: of transfer.focus.CARRY_MODES.

    previous: the frame that they are on, for flow. What cannot be followed goes on as it did, is looked for there, and
    is not trusted until its likeness is seen. What cannot be compared with the keyframe is not
    trusted: on a frame of another shape (the camera was turned, or cut) none is. Without a keyframe nothing changes.
    """
    keyframe = tracks.keyframe
    if now.stamp <= tracks.stamp or keyframe is None:
        return tracks
    seconds = (now.stamp - tracks.stamp) * 1e-9
    tracks = replace(tracks, stamp=now.stamp)
    if not tracks.regions or method == "none":
        return tracks
    if now.gray.shape != keyframe.gray.shape:
        return replace(tracks, quality=np.zeros(len(tracks.boxes)))
    if method == "features":
        boxes, alike = matched(keyframe.patches, now.patches, tracks.origins, _radius(tracks))
        return replace(tracks, boxes=boxes, quality=_trust(alike, method))
    return _flow(tracks, keyframe, previous, now, seconds)


def _flow(tracks: Tracks, keyframe: Glimpse, previous: Glimpse | None, now: Glimpse, seconds: float) -> Tracks:
    anchor, camera, proposals = tracks.anchor, np.zeros(2), []
    if previous is not None and previous.gray.shape == now.gray.shape:
        before = np.concatenate([tracks.boxes, _WHOLE])
        moved, followed = flowed(previous.gray, now.gray, before, before)
        camera = _centres(moved)[-1] - _centres(_WHOLE)[0]
        proposals.append((moved[:-1], followed[:-1], 0.0 if previous is anchor else _STEP_COST))
    expected = tracks.boxes + np.tile(camera + tracks.velocity * seconds, 2)
    proposals.append((expected, np.ones(len(expected), bool), _EXPECTED_COST))
    if anchor is not None and anchor is not previous and anchor.gray.shape == now.gray.shape:
        proposals.append((*flowed(anchor.gray, now.gray, tracks.anchored, expected), 0.0))
    boxes, alike, best = expected.copy(), np.zeros(len(expected)), np.full(len(expected), -np.inf)
    sides = np.sqrt((tracks.boxes[:, 2:] - tracks.boxes[:, :2]).prod(1).clip(1e-9))
    for moved, followed, cost in proposals:
        moved, there = _sized(tracks, keyframe, now, moved)
        deviation = np.hypot(*(_centres(moved) - _centres(expected)).T) / sides / seconds
        value = np.where(followed, there - cost - _DEVIATION_COST * deviation, -np.inf)
        better = value > best
        boxes[better], alike[better], best[better] = moved[better], there[better], value[better]
    found = _find_again(tracks, keyframe, now, boxes, alike)
    velocity = (_centres(boxes) - _centres(tracks.boxes) - camera) / seconds
    learnt = ((alike >= _SEEN_WELL) & (np.abs(velocity) < _FASTEST).all(1))[:, None]
    weight = 1.0 - np.exp(-seconds / _VELOCITY_S)
    tracks = replace(
        tracks,
        boxes=boxes,
        quality=_trust(alike, "flow"),
        velocity=tracks.velocity + np.where(learnt, weight * (velocity - tracks.velocity), 0.0),
        seen=np.where(alike >= _SEEN, now.stamp, tracks.seen),
    )
    if found or anchor is None or anchor.gray.shape != now.gray.shape or now.stamp - anchor.stamp >= _ANCHOR_NS:
        tracks = replace(tracks, anchor=now, anchored=boxes)
    return tracks


def _sized(
    tracks: Tracks, keyframe: Glimpse, now: Glimpse, moved: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The moved boxes, of their old size where they look more like the keyframe with it; and their likeness."""
    centres, halves = _centres(moved), (tracks.boxes[:, 2:] - tracks.boxes[:, :2]) / 2
    same = np.concatenate([centres - halves, centres + halves], 1)
    of_moved = likeness(keyframe.gray, tracks.origins, now.gray, moved)
    of_same = likeness(keyframe.gray, tracks.origins, now.gray, same)
    resized = of_moved >= of_same
    return np.where(resized[:, None], moved, same), np.where(resized, of_moved, of_same)


def _find_again(
    tracks: Tracks, keyframe: Glimpse, now: Glimpse, boxes: NDArray[np.float64], alike: NDArray[np.float64]
) -> bool:
    """Puts the boxes that lost what they held on what looks like it nearby; whether there was any."""
    found = False
    for i in np.flatnonzero(alike < _SEEN):
        reach = _SEARCH_SPEED * (now.stamp - tracks.seen[i]) * 1e-9
        there, correlation = best_match(keyframe.gray, tracks.origins[i], now.gray, boxes[i], reach)
        if correlation >= _FOUND:
            boxes[i], alike[i], found = there, correlation, True
    return found


def _centres(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


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

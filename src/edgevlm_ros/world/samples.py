# SPDX-License-Identifier: Apache-2.0
"""Training samples: a frame as a moving camera might have seen it, what was said before, what is asked now.

Conversations are invented from the ground truth, not taken from any model: the last answer may be right, out of date
or wrong, the likelier the older it is, and the small model has to learn when to believe its eyes and when to believe
what it has been told. The words around a turn are the pipeline's own (transfer/conversation.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from edgevlm_ros.transfer.types import Question, Source, Turn
from edgevlm_ros.world import questions as q
from edgevlm_ros.world.dataset import HEIGHT, WIDTH, Split
from edgevlm_ros.world.render import CLASSES
from edgevlm_ros.world.scene import GESTURES, LOADS, NAMES, ROLES, STATES

# What a visual token can be asked about its own cell, by the auxiliary loss.
CELL_LABELS = ("person", "cart", "machine", *LOADS, *ROLES, *NAMES, *STATES, *GESTURES[1:])
SIGNS = (LOADS, ROLES, NAMES, STATES, GESTURES[1:])  # labels of which a cell with a sign has one
NEAR = 0.35  # share of the windows that are drawn tightly around a thing: signs seen from near
CROP_MARGIN, CROP_MIN = 1.4, 0.3
YOUNGEST, OLDEST = 0.2, 15.0  # seconds: age of the last answer, up to what the pipeline still tells by default
OWN = 0.2  # share of the turns that the small model is told are its own
BARE = 0.25  # share of the conversations without a word on who spoke and when: that form is to work as well
LASTS = 3.0  # seconds in which an answer about what changes by itself goes out of date
NOW = 3600 * 10**9  # stamp of every sample's frame; only differences are told

PixelBox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Shot:
    """A window of a frame, and what it shows of the things in it."""

    frame: Image.Image
    window: PixelBox
    classes: np.ndarray  # (120, 160), of the whole frame
    seen: q.Observation


@dataclass(frozen=True, slots=True)
class Ask:
    """One sample: several questions about the same shot share its image (and history and crop).

    turns: what was said before, stamped before NOW. provenance: whether the model is told who spoke and how long ago.
    """

    shot: Shot
    questions: list[str]
    turns: tuple[Turn, ...] = ()
    crop: PixelBox | None = None
    provenance: bool = True


def take_shot(split: Split, index: int, rng: np.random.Generator | None) -> Shot:
    """The whole frame, or with rng a random window of it (a cheap other camera pose), truth adapted."""
    frame = Image.fromarray(split.frames[index])
    seen = split.seen[index]
    window: PixelBox = (0.0, 0.0, float(WIDTH), float(HEIGHT))
    if rng is not None and rng.random() < 0.8:
        scale = rng.uniform(0.86, 1.0)
        x = rng.uniform(0, WIDTH * (1 - scale))
        y = rng.uniform(0, HEIGHT * (1 - scale))
        things = list(seen.boxes.values())
        if things and rng.random() < NEAR:
            box = things[int(rng.integers(len(things)))]
            scale = rng.uniform(0.4, 0.86)
            x = np.clip(((box[0] + box[2]) / 2 - scale * rng.uniform(0.2, 0.8)) * WIDTH, 0, WIDTH * (1 - scale))
            y = np.clip(((box[1] + box[3]) / 2 - scale * rng.uniform(0.3, 0.7)) * HEIGHT, 0, HEIGHT * (1 - scale))
        window = (float(x), float(y), float(x + WIDTH * scale), float(y + HEIGHT * scale))
        seen = through(seen.facts, split.classes[index], window)
    return Shot(frame, window, split.classes[index], seen)


def through(told: Mapping[str, str], classes: np.ndarray, window: PixelBox) -> q.Observation:
    """What remains visible in a window of the frame."""
    rows, columns = classes.shape
    x0, x1 = (round(x * columns / WIDTH) for x in (window[0], window[2]))
    y0, y1 = (round(y * rows / HEIGHT) for y in (window[1], window[3]))
    return q.seen_in(told, classes[y0:y1, x0:x1])


def crop_around(box: q.Box, window: PixelBox, rng: np.random.Generator | None) -> PixelBox:
    """The frame's pixel box that the zoomed view shows for a region of the window; jittered if rng is given.

    As transfer/geometry.py does it: enlarged by CROP_MARGIN, the window's aspect, at least CROP_MIN of its width.
    """
    x0, y0, x1, y1 = window
    width, height = x1 - x0, y1 - y0
    cx, cy = x0 + (box[0] + box[2]) / 2 * width, y0 + (box[1] + box[3]) / 2 * height
    w, h = (box[2] - box[0]) * width, (box[3] - box[1]) * height
    if rng is not None:
        cx, cy = cx + rng.uniform(-0.25, 0.25) * w, cy + rng.uniform(-0.2, 0.2) * h
        w, h = w * rng.uniform(0.8, 1.3), h * rng.uniform(0.8, 1.3)
    share = min(1.0, max(CROP_MARGIN * w / width, CROP_MARGIN * h / height, CROP_MIN))
    left = min(max(cx - share * width / 2, x0), x1 - share * width)
    top = min(max(cy - share * height / 2, y0), y1 - share * height)
    return left, top, left + share * width, top + share * height


def make_ask(shot: Shot, rng: np.random.Generator, *, told: float, doubt: float, crop: float, count: int) -> Ask:
    """told: share of samples with a history. doubt: factor on how often it is wrong. crop: share with a zoomed view.

    count: questions, of which the history is about the first.
    """
    possible = [question for question in q.ALL if q.askable(question, shot.seen)]
    if not possible:
        return Ask(shot, [])
    weights = np.array([_weight(question, shot.seen) for question in possible])
    chosen = rng.choice(len(possible), min(count, len(possible)), replace=False, p=weights / weights.sum())
    asked = [possible[i] for i in chosen]
    turns: list[Turn] = []
    if rng.random() < told:
        age = YOUNGEST + (OLDEST - YOUNGEST) * rng.random() ** 1.5
        turns.append(remembered(asked[0], shot.seen, age, rng, doubt))
        if rng.random() < 0.2:
            turns.insert(0, remembered(asked[0], shot.seen, age + rng.uniform(0.3, 6.0), rng, doubt))
    provenance = bool(rng.random() >= BARE)
    box = None
    if rng.random() < crop:
        spoken_of = q.region_of(asked[0], shot.seen)
        region = None if spoken_of is None else spoken_of[1]
        if region is None or rng.random() < 0.12:  # stale or mistaken focus
            cx, cy, size = rng.uniform(0.1, 0.9), rng.uniform(0.3, 0.8), rng.uniform(0.05, 0.4)
            region = (cx - size / 2, cy - size / 2, cx + size / 2, cy + size / 2)
        box = crop_around(region, shot.window, rng)
    return Ask(shot, asked, tuple(turns), box, provenance)


def remembered(question: str, seen: q.Observation, age: float, rng: np.random.Generator, doubt: float) -> Turn:
    """A turn of so many seconds ago, by either speaker, wrong as often as its age and speaker suggest."""
    source = Source.EDGE if rng.random() < OWN else Source.CLOUD
    chance = rng.random() / doubt if doubt else 1.0
    kind = "correct"
    if chance < gone(age):
        kind = "gone"
    elif chance < gone(age) + wrongness(age, source):
        kind = "wrong"
    return turn(question, invented(question, seen, kind, age, rng), age, source)


def turn(question: str, said: str, age: float, source: Source = Source.CLOUD) -> Turn:
    """age: seconds before NOW."""
    return Turn(NOW - round(age * 1e9), Question(question), said, source)


def gone(age: float) -> float:
    """How likely the thing of an answer of that age was there then and is not now, or the other way round.

    By the val streams: 0.06 to 0.12 at 2 s, 0.21 to 0.33 at 5 s, 0.48 to 0.69 at 12 s.
    """
    return min(0.6, 0.01 + 0.045 * age)


def wrongness(age: float, source: Source) -> float:
    """How likely an answer of that age names another thing than the one that is there, then and now.

    By the val streams next to never before 8 s and in a tenth to a quarter at 12 s; the cloud misreads some, and the
    small model's own answers were worse from the start.
    """
    return 0.03 + 0.02 * max(0.0, age - 5.0) + (0.2 if source is Source.EDGE else 0.0)


def invented(question: str, seen: q.Observation, kind: str, age: float, rng: np.random.Generator) -> str:
    """What a turn said that many seconds ago.

    correct: the thing is named rightly, though it may have moved or its light changed since. wrong: it is not. gone: it
    was not there and is now; of what is not there now both say that it was.
    """
    truth = q.answer(question, seen)
    there = truth != q.ABSENT[question]
    if kind == "correct" and not there:
        return truth
    if kind == "gone" and there:
        return q.ABSENT[question]
    names = q.PARTS_OF[question]
    if not there:
        return ", ".join(_pick(rng, q.VALUES[name]) for name in names)
    said = []
    for part, name in zip(truth.split(", "), names, strict=True):
        values = q.VALUES[name]
        if len(names) == 1 and kind == "wrong":
            said.append(_pick(rng, tuple(value for value in values if value != part)))
        elif name not in q.SLOW:  # changes by itself: often out of date
            said.append(part if rng.random() < math.exp(-age / LASTS) else _pick(rng, values))
        elif kind == "correct":
            said.append(part)
        else:
            said.append(_pick(rng, tuple(value for value in values if value != part)))
    return ", ".join(said)


def cells(shot: Shot, box: PixelBox, grid: tuple[int, int]) -> np.ndarray:
    """(rows * columns, len(CELL_LABELS)) float32 0/1: what each cell of a view of the frame shows."""
    rows, columns = grid
    fine = 6
    ys = box[1] + (np.arange(rows * fine) + 0.5) / (rows * fine) * (box[3] - box[1])
    xs = box[0] + (np.arange(columns * fine) + 0.5) / (columns * fine) * (box[2] - box[0])
    y = np.clip((ys * shot.classes.shape[0] / HEIGHT).astype(int), 0, shot.classes.shape[0] - 1)
    x = np.clip((xs * shot.classes.shape[1] / WIDTH).astype(int), 0, shot.classes.shape[1] - 1)
    points = shot.classes[np.ix_(y, x)].reshape(rows, fine, columns, fine)
    tiles = points.transpose(0, 2, 1, 3).reshape(rows * columns, fine * fine)
    share = {name: (tiles == code).mean(axis=1) for code, name in enumerate(CLASSES)}
    out = np.zeros((rows * columns, len(CELL_LABELS)), np.float32)
    facts = shot.seen.facts
    for subject, parts in q.SUBJECTS.items():
        label = CELL_LABELS.index("machine" if subject == "second" else subject)
        out[:, label] = np.maximum(out[:, label], sum(share[part] for part in parts) > 0.15)
    # a plate's cell knows its machine's lamp as well: what is asked by the letter is then found in one place
    plates = {"state": "plate", "second state": "secondplate"}
    for name, part in (*q.SIGN_PARTS.items(), *q.LAMP_PARTS.items(), *plates.items()):
        if name in facts:
            out[share[part] > 0.1, CELL_LABELS.index(facts[name])] = 1.0
    if facts.get("gesture", "no sign") != "no sign":
        out[share["person"] + share["badge"] > 0.15, CELL_LABELS.index(facts["gesture"])] = 1.0
    return out


def _weight(question: str, seen: q.Observation) -> float:
    """How often it is asked: the tasks most, and of the machines those most that are here."""
    if question in q.PANEL:
        return 6.0 if q.subject_of(question, seen) is not None else 1.0
    return 3.0 if question in q.TASKS else 2.0 if question == q.CART else 1.0


def _pick(rng: np.random.Generator, values: tuple[str, ...]) -> str:
    return values[int(rng.integers(len(values)))]

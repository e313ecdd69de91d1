# SPDX-License-Identifier: Apache-2.0
"""The bundled pair, on the demo's frames, which no training has seen."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevlm_ros.assets import share_dir
from edgevlm_ros.bags import BagReader
from edgevlm_ros.world.evaluate import Speaker, overlap
from edgevlm_ros.world.samples import turn

Sample = tuple[np.ndarray, str, str, tuple[float, float, float, float] | None]  # frame, question, answer, box (0..1)


def folder(kind: str) -> Path:
    return share_dir() / "models" / f"micro_{kind}"


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Every fifth frame of the demo: one a second."""
    frames, truths = [], []
    with BagReader(share_dir() / "bags" / "demo") as bag:
        for record in bag.records(topics=["/image/compressed", "/ground_truth"]):
            (frames if record.topic == "/image/compressed" else truths).append(bag.deserialize(record))
    chosen: list[Sample] = []
    for frame, truth in list(zip(frames, truths, strict=True))[::5]:
        assert frame.header.stamp == truth.header.stamp
        image = np.asarray(Image.open(io.BytesIO(frame.data.tobytes())).convert("RGB"))
        height, width, _ = image.shape
        box = None
        if len(truth.regions):
            roi = truth.regions[0].box
            x1, y1 = roi.x_offset + roi.width, roi.y_offset + roi.height
            box = (roi.x_offset / width, roi.y_offset / height, x1 / width, y1 / height)
        chosen.append((image, truth.question, truth.answer, box))
    return chosen


def test_the_small_model_is_above_chance(samples: list[Sample]) -> None:
    """Chance: always the commonest answer to each question in the demo itself, which is generous."""
    svlm = Speaker("svlm", folder("svlm"))
    right = [svlm.say(question, image) == answer for image, question, answer, _ in samples]
    counts: dict[str, Counter[str]] = {}
    for _, question, answer, _ in samples:
        counts.setdefault(question, Counter())[answer] += 1
    chance = sum(counter.most_common(1)[0][1] for counter in counts.values()) / len(samples)
    assert sum(right) / len(right) > chance


@pytest.mark.parametrize("provenance", [True, False])
def test_a_correct_last_answer_helps_the_small_model(samples: list[Sample], provenance: bool) -> None:
    svlm = Speaker("svlm", folder("svlm"))
    alone = told = 0
    for image, question, answer, _ in samples:
        alone += svlm.say(question, image) == answer
        told += svlm.say(question, image, turns=[turn(question, answer, 2.0)], provenance=provenance) == answer
    assert told > alone


def test_the_large_model_answers_in_json_mostly_right_with_boxes(samples: list[Sample]) -> None:
    lvlm = Speaker("lvlm", folder("lvlm"))
    right, overlaps = [], []
    for image, question, answer, box in samples[::3]:
        reply = json.loads(lvlm.say(question, image))
        right.append(reply["answer"] == answer)
        if box is not None and reply["regions"]:
            overlaps.append(overlap(reply["regions"][0]["bbox_2d"], box))
    assert sum(right) / len(right) >= 0.75
    assert np.mean(overlaps) > 0.5


@pytest.mark.parametrize("kind", ["svlm", "lvlm"])
def test_the_card_has_the_figures_that_were_measured(kind: str) -> None:
    metrics = json.loads((folder(kind) / "metrics.json").read_text())
    card = (folder(kind) / "README.md").read_text()
    alone = metrics["exact_match"]["plain"]["tasks"]
    assert f"{100 * alone:.0f} %" in card


def test_both_models_together_are_small() -> None:
    size = sum(path.stat().st_size for kind in ("svlm", "lvlm") for path in folder(kind).iterdir())
    assert size < 30e6

# SPDX-License-Identifier: Apache-2.0
"""The small model alone with a second view that is always the centre of the frame: no cloud, and nothing is tracked.

edgeVLM's crop mode shows the small model a second view on the regions that the cloud has seen. These two show as many
views in as many passes, at the same cost, but know of no cloud: what edgeVLM gains over them is what the cloud tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgevlm_ros.edge.engine import Completion, Prompt
from edgevlm_ros.evaluation import timings
from edgevlm_ros.evaluation.latency import Latency
from edgevlm_ros.evaluation.outcomes import Said
from edgevlm_ros.evaluation.policies.policy import Knobs, Policy
from edgevlm_ros.evaluation.simulation import Played, Scene
from edgevlm_ros.transfer.types import Image, Question

WINDOW = (0.25, 0.30, 0.75, 0.80)  # x0 y0 x1 y1, fractions of the frame's width and height
MEMORY_S = 5.0


def play_view(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    return Played(_answers(scene))


def play_memory(scene: Scene, link: Latency, knobs: Knobs) -> Played:
    answers = _answers(scene)

    def remembered(said: Said) -> list[str]:
        """The model's own answers to the same question in the seconds up to this one, which is the last."""
        return [
            each.text
            for each in answers
            if each.question == said.question and said.frame - MEMORY_S * 1e9 <= each.frame <= said.frame
        ]

    return Played([replace(said, text=majority(remembered(said))) for said in answers])


def majority(answers: Sequence[str]) -> str:
    """The newest answer, with all of its comma-separated parts but the last as most of the answers have them.

    The last part is what changes fast, so it is the newest frame's. Each part before it is voted on by itself, by the
    answers with as many parts: "nobody" has no say in who it is. Among equals the newest wins.
    """
    parts = [tuple(part.strip() for part in answer.split(",")) for answer in reversed(answers)]
    same = [each for each in parts if len(each) == len(parts[0])]
    *slow, fast = zip(*same, strict=True)
    return ", ".join([*(Counter(votes).most_common(1)[0][0] for votes in slow), fast[0]])


def centre(image: Image) -> Image:
    """The window in the middle of an (H, W, 3) image."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = WINDOW
    rows = slice(round(y0 * height), round(y1 * height))
    return np.ascontiguousarray(image[rows, round(x0 * width) : round(x1 * width)])


def _answers(scene: Scene) -> list[Said]:
    def complete(stamp: int, question: Question) -> Completion:
        image = scene.frame(stamp).image
        share = min(scene.robot.focus.pixel_budget / 2, 1.0)  # as both views of the crop mode share it
        views = (image, centre(image))
        return scene.small.complete(Prompt((), views, question.text, pixel_share=share, choices=scene.robot.choices))

    turns = scene.turns(timings.FOCUSED, complete)
    return [Said(end, question, done.text, taken.stamp) for taken, question, done, end in turns]


VIEW = Policy("edge_centre_view", "the small model alone, with a second view on the centre of the frame", play_view)
MEMORY = Policy(
    "edge_centre_memory",
    f"the same, with all parts of an answer but the last by majority of its own last {MEMORY_S:g} s",
    play_memory,
)

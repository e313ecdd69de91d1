# SPDX-License-Identifier: Apache-2.0
"""Two models and a stream made for each other: the small one knows better as soon as it is told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.edge.engine import Capabilities, Completion, OnToken, Prompt, Stop
from edgevlm_ros.evaluation.annotated_frames import AnnotatedFrame
from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.transfer.focus import FOCUS_MODES
from edgevlm_ros.transfer.types import Frame, Image, Question, Region

QUESTION = Question("What does the cart carry, and where is it?")
REPLY = '{"answer": "gas, left", "regions": [{"label": "cart", "bbox_2d": [100, 400, 300, 700]}]}'


class Model:
    """An engine that says one thing if it is told nothing, and another if it is."""

    name = "model"
    capabilities = Capabilities(frozenset(FOCUS_MODES))

    def __init__(self, alone: str, told: str = "") -> None:
        self.alone, self.told = alone, told

    def grid(self, width: int, height: int) -> tuple[int, int]:
        return 5, 6

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def see(self, image: Image) -> NDArray[np.float32] | None:
        return None

    def prepare(self, history: Sequence[Exchange]) -> None:
        pass

    def complete(self, prompt: Prompt, on_token: OnToken | None = None, stop: Stop | None = None) -> Completion:
        return Completion(self.told if prompt.history else self.alone, 0.9, 0.01)


def stream(count: int = 12, answer: str = "gas, left") -> list[AnnotatedFrame]:
    """Frames, five a second, in which a bright box moves to the right; the last ones belong to another question."""
    texture = np.random.default_rng(3).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    frames = []
    for at in range(count):
        image = np.full((240, 320, 3), 60, np.uint8)
        x = 40 + 4 * at
        image[100:148, x : x + 48] = texture
        frame = Frame(10_000_000_000 + at * 200_000_000, image)
        frames.append(AnnotatedFrame(frame, QUESTION, answer, (Region("cart", 1.0, x, 100, x + 48, 148),)))
    elsewhere = Frame(10_000_000_000 + count * 200_000_000, image)
    return [*frames, AnnotatedFrame(elsewhere, Question("Where is the person?"), "nobody")]

# SPDX-License-Identifier: Apache-2.0
"""What the pipeline asks of a small vision-language model, whatever runs it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edgevlm_ros.transfer.focus import FocusMode
from edgevlm_ros.transfer.types import FocusMap, Image, Question, Turn

OnToken = Callable[[str], None]
"""Takes each new piece of the answer as it is decoded."""

Stop = Callable[[], bool]
"""Asked before every token; true ends the answer where it is."""


class EngineError(RuntimeError):
    """The model cannot be loaded or used as asked; the message says what to change."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """All that an answer is made from.

    history: turns told before the image, oldest first. image: (H, W, 3) uint8 RGB. beta: strength of the attention
    bias along focus.grid; 0 leaves the attention alone. A focus with a crop adds it as a second view.
    """

    history: tuple[Turn, ...]
    image: Image
    question: Question
    focus: FocusMap | None = None
    beta: float = 0.0


@dataclass(frozen=True, slots=True)
class Completion:
    """Decoded tokens.

    confidence: geometric mean of their probabilities, 0..1. first_token_time: seconds from the call.
    """

    text: str
    confidence: float
    first_token_time: float


class Engine(Protocol):
    """A loaded SVLM. `complete` is called from one thread at a time; the rest from any."""

    @property
    def name(self) -> str:
        """The model, as it is named to people."""

    @property
    def focus_modes(self) -> frozenset[FocusMode]:
        """The ways in which this engine can be steered."""

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of the visual tokens of a width x height image."""

    def count_tokens(self, text: str) -> int:
        """Length of a text in the model's own tokens."""

    def complete(self, prompt: Prompt, on_token: OnToken | None = None, stop: Stop | None = None) -> Completion:
        """Answers one prompt, greedily: the same prompt gives the same tokens."""

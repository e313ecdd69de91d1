# SPDX-License-Identifier: Apache-2.0
"""What the pipeline asks of a small vision-language model, whatever runs it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.transfer.types import Image, Timings

OnToken = Callable[[str], None]
"""Takes each new piece of the answer as it is decoded."""

Stop = Callable[[], bool]
"""Asked before every token; true ends the answer where it is."""


class EngineError(RuntimeError):
    """The model cannot be loaded or used as asked; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do; asking for more is an EngineError when it is configured.

    focus_modes: of transfer.focus.FOCUS_MODES. reuse: the text before the image can be prefilled ahead of the frame.
    features: `see` gives patch features. resolution: a view can be seen with fewer pixels (focus.pixel_budget).
    choices: the answer can be kept to Prompt.choices.
    """

    focus_modes: frozenset[str]
    reuse: bool = False
    features: bool = False
    resolution: bool = False
    choices: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """All that an answer is made from.

    history: told before the images, oldest first. images: (H, W, 3) uint8 RGB, the frame and then a second view of it
    if there is one. pixel_share: pixels that each of them may take, over those of a whole frame; 1 leaves them alone.
    focus: (rows, cols) float32 in 0..1 over the frame, see Engine.grid. beta: strength of the attention bias along it;
    0 leaves the attention alone. keep: share of the frame's visual tokens that the decoder sees, chosen by it.
    choices: the answers that are allowed, see edge.choices.checked_choices; empty for any. camera: whose frame it is,
    for what an engine keeps for the next one; changes no answer.
    """

    history: tuple[Exchange, ...]
    images: tuple[Image, ...]
    question: str
    pixel_share: float = 1.0
    focus: NDArray[np.float32] | None = None
    beta: float = 0.0
    keep: float = 1.0
    choices: tuple[str, ...] = ()
    camera: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """Decoded tokens.

    confidence: geometric mean of their probabilities, 0..1; NaN where the engine does not know them. first_token_time:
    seconds from the call. reused_tokens: of the prompt's, that had been prefilled before. drafted_tokens: guessed ahead
    and verified with the prompt, and accepted_tokens of them were right and are the first of the answer. probabilities:
    of the prompt's choices, together 1; confidence is that of the answer then.
    """

    text: str
    confidence: float
    first_token_time: float
    timings: Timings = field(default_factory=Timings)
    tokens: tuple[int, ...] = ()
    prompt_tokens: int = 0
    visual_tokens: int = 0
    reused_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    probabilities: tuple[float, ...] = ()


class Engine(Protocol):
    """A loaded SVLM. `see` and `complete` are called from one thread at a time; the rest from any."""

    @property
    def name(self) -> str:
        """The model, as it is named to people."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of the focus map of a width x height image."""

    def count_tokens(self, text: str) -> int:
        """Length of a text in the model's own tokens."""

    def see(self, image: Image) -> NDArray[np.float32] | None:
        """Patch features of a whole frame, (rows, cols, D), if it has them; `complete` does not compute them again."""

    def prepare(self, history: Sequence[Exchange]) -> None:
        """Prefills what stands before the images, off the frame's path; frames come first. Slow; any thread."""

    def complete(self, prompt: Prompt, on_token: OnToken | None = None, stop: Stop | None = None) -> Completion:
        """Answers one prompt, greedily: the same prompt gives the same tokens."""

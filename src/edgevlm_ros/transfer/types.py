# SPDX-License-Identifier: Apache-2.0
"""The nouns that everything else speaks: frames, questions, answers, regions and cloud contexts.

Stamps are capture times in nanoseconds of the stream's own clock (robot, bag or simulation). Boxes are x0 y0 x1 y1 in
pixels, the origin at the image's top left corner.
"""

import enum
import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every frame. The same words are the same question, wherever and whenever they are asked."""

    text: str

    @property
    def id(self) -> int:
        """CRC-32 of the text in UTF-8."""
        return zlib.crc32(self.text.encode())


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image of the camera. image: (H, W, 3) uint8 RGB."""

    stamp: int
    image: Image

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        return int(self.image.shape[0])


@dataclass(frozen=True, slots=True)
class Region:
    """A box on an image, in that image's pixels. score: 0..1."""

    label: str
    score: float
    x0: float
    y0: float
    x1: float
    y1: float


class Source(enum.IntEnum):
    """Who said an answer; values as in Answer.msg."""

    EDGE = 0
    CLOUD = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """One answered frame of the conversation."""

    stamp: int
    question: Question
    text: str
    source: Source


class Status(enum.IntEnum):
    """How a cloud request ended; values as in CloudContext.msg."""

    OK = 0
    TIMEOUT = 1
    UNREACHABLE = 2
    REJECTED = 3
    UNPARSABLE = 4
    DROPPED = 5


@dataclass(frozen=True, slots=True)
class CloudContext:
    """What the LVLM said about one keyframe.

    stamp: of the keyframe. regions: pixels of the keyframe, whose size is width x height.
    """

    stamp: int
    keyframe_id: int
    question_id: int
    status: Status
    text: str = ""
    regions: tuple[Region, ...] = ()
    width: int = 0
    height: int = 0
    model: str = ""


class Outcome(enum.Enum):
    """What became of a context that reached the pipeline."""

    APPLIED = "applied"
    FAILED = "failed"  # the request had no answer
    OTHER_QUESTION = "other question"
    DUPLICATE = "duplicate"
    STALE = "stale"  # older than the context in use, or than max_context_age
    SUSPENDED = "suspended"  # taken in, but not told while the scene does not look like the keyframe's


@dataclass(frozen=True, slots=True, eq=False)
class FocusMap:
    """Where to look on one frame.

    grid: (rows, cols) float32 in 0..1 on the frame's visual tokens. regions: pixels of the frame, score = confidence
    left. crop: the second view in pixels of the frame, or None. stamp: of the keyframe that the regions were seen on.
    """

    grid: NDArray[np.float32]
    regions: tuple[Region, ...]
    crop: tuple[int, int, int, int] | None
    stamp: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a frame went, seconds. prepare: pixels and prompt, until the model gets them."""

    prepare: float = 0.0
    vision: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0

    @property
    def total(self) -> float:
        return self.prepare + self.vision + self.prefill + self.decode


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the SVLM said about a frame. Times are seconds on the steady clock, spent in the engine.

    context: the cloud turn that stood in the prompt, if one did. focus: what steered the eyes, if anything did.
    focus_time: spent on carrying the regions and building the map. suspended: what the cloud said was not used, since
    the scene does not look like its keyframe's.
    """

    stamp: int
    question: Question
    text: str
    confidence: float
    inference_time: float
    first_token_time: float
    context: Turn | None = None
    focus: FocusMap | None = None
    focus_mode: str = "none"
    focus_time: float = 0.0
    timings: Timings = field(default_factory=Timings)
    suspended: bool = False

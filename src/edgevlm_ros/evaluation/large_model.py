# SPDX-License-Identifier: Apache-2.0
"""The LVLM without its server: asked what the bridge asks, hundreds of times as fast as real time allows.

The same prompt, the same JPEG and the same greedy decoding as on the way through `transformers serve`; only the network
between is left out, since the evaluation has delays of its own. It can also be split in two where partitioned inference
splits it: after the vision encoder, whose features go up as int8.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor

from edgevlm_ros.assets import model_path
from edgevlm_ros.cloud.grounding import convention
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.cloud.prompt import instruction
from edgevlm_ros.cloud.reply import Reply, ReplyError, parse_reply
from edgevlm_ros.edge.architectures.architecture import Architecture, Pixels, Sight
from edgevlm_ros.edge.engine import Completion, Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.evaluation.remembering import Wrapped
from edgevlm_ros.evaluation.robot import Bridge
from edgevlm_ros.transfer.types import Image

MAX_TOKENS = 256  # of a reply, as in prompt.chat_request
_SCALE_BYTES = 2  # of each visual token's float16 scale
_LEAST_SCALE = 2.0**-14  # that float16 has in full precision


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the LVLM said, word for word. tokens: its own."""

    text: str
    tokens: tuple[int, ...]


class LargeModel:
    """A loaded LVLM. name: a bundled model's, a folder in Hugging Face layout, or a hub id. Raises EngineError."""

    def __init__(self, name: str, bridge: Bridge, device: str = "auto") -> None:
        settings = EngineSettings(model_path(name), device, threads=1, max_new_tokens=MAX_TOKENS, reuse=False)
        self._engine = load_engine(settings)
        self._split = Split(self._engine.architecture)
        self._engines: dict[tuple[str, bool], TransformersEngine] = {}
        self._bridge = bridge

    @property
    def name(self) -> str:
        return self._engine.name

    def ask(self, upload: Upload, question: str, split: bool = False, draft: Sequence[int] = ()) -> Spoken:
        """The reply to a question about a keyframe. See complete."""
        done = self.complete(upload, question, split, draft)
        return Spoken(done.text, done.tokens)

    def complete(self, upload: Upload, question: str, split: bool = False, draft: Sequence[int] = ()) -> Completion:
        """The same, with where its time went.

        split: the visual tokens go through int8 on their way. draft: tokens that the reply may begin with, verified in
        one pass with the prompt, as speculative decoding does; they change no word.
        """
        return self._told(upload, split).complete(Prompt((), (decoded(upload),), question), draft=draft)

    def beginning(self, answer: str) -> list[int]:
        """The tokens with which a reply of this answer begins."""
        tokenizer = self._engine.architecture.processor.tokenizer
        tokens: list[int] = tokenizer(f'{{"answer": "{answer}', add_special_tokens=False)["input_ids"]
        return tokens

    def feature_bytes(self, upload: Upload) -> int:
        """What the visual tokens of a keyframe take as int8, with a scale for each."""
        self._split.see(self._split.pixels(decoded(upload)))
        return self._split.bytes_up

    def _told(self, upload: Upload, split: bool) -> TransformersEngine:
        """The model under the bridge's instruction, which may tell the size of the image."""
        system = instruction(self._bridge.box_format, upload.width, upload.height, self._bridge.max_regions)
        if (system, split) not in self._engines:
            architecture = self._split if split else self._engine.architecture
            self._engines[system, split] = TransformersEngine(architecture, self.name, system, MAX_TOKENS, reuse=False)
        return self._engines[system, split]


class Split(Wrapped):
    """An architecture whose visual tokens arrive as int8, each with a float16 scale. bytes_up: of the last view."""

    def __init__(self, inner: Architecture) -> None:
        super().__init__(inner)
        self.bytes_up = 0

    def see(self, pixels: Pixels) -> Sight:
        sight = self.inner.see(pixels)
        parts = (sight.features, *sight.deep)
        self.bytes_up = sum(part.numel() + _SCALE_BYTES * len(part) for part in parts)
        features, *deep = map(through_int8, parts)
        return replace(sight, features=features, deep=tuple(deep))


def through_int8(features: Tensor) -> Tensor:
    """Features (n, D) as they arrive: rounded to 255 steps between plus and minus the largest of each row."""
    scale = (features.float().abs().amax(-1, keepdim=True) / 127).clamp_min(_LEAST_SCALE).half().float()
    return (torch.round(features.float() / scale).clamp(-127, 127) * scale).to(features.dtype)


def decoded(upload: Upload) -> Image:
    """The pixels that the server gets, (H, W, 3) uint8 RGB."""
    with PilImage.open(io.BytesIO(upload.jpeg)) as image:
        return np.asarray(image.convert("RGB"))


def parsed(text: str, upload: Upload, bridge: Bridge) -> Reply | None:
    """A reply as the bridge reads it, regions in pixels of the source; None if there is no answer in it."""
    boxes = convention(bridge.box_format, upload.width, upload.height)
    try:
        return parse_reply(
            text,
            width=upload.source_width,
            height=upload.source_height,
            extent=boxes.extent,
            rows_first=boxes.rows_first,
            max_regions=bridge.max_regions,
            max_chars=bridge.max_answer_chars,
        )
    except ReplyError:
        return None

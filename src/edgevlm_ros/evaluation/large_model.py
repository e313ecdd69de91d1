# SPDX-License-Identifier: Apache-2.0
"""The LVLM without its server: asked what the bridge asks, hundreds of times as fast as real time allows.

The same prompt, the same JPEG and the same greedy decoding as on the way through `transformers serve`; only the network
between is left out, since the evaluation has delays of its own. It can also be split in two where the bridge splits it,
by the bridge's own code: after the vision encoder, whose features go up as int8.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as PilImage

from edgevlm_ros.assets import model_path
from edgevlm_ros.cloud.eyes import cut
from edgevlm_ros.cloud.features import EYES_BYTES, read_features, to_bytes
from edgevlm_ros.cloud.grounding import convention
from edgevlm_ros.cloud.jpeg import Upload
from edgevlm_ros.cloud.listener import Listener
from edgevlm_ros.cloud.prompt import instruction
from edgevlm_ros.cloud.reply import Reply, ReplyError, parse_reply
from edgevlm_ros.edge.engine import Completion, Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.evaluation.robot import Bridge
from edgevlm_ros.transfer.types import Image

MAX_TOKENS = 256  # of a reply, as in prompt.chat_request
_OWN_EYES = bytes(EYES_BYTES)  # eyes and language model are halves of one model here


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
        self._listener = Listener(self._engine.architecture, self._engine.name, _OWN_EYES)
        self._engines: dict[str, TransformersEngine] = {}
        self._bridge = bridge

    @property
    def name(self) -> str:
        return self._engine.name

    def ask(
        self, upload: Upload, question: str, split: bool = False, keep: float = 1.0, draft: Sequence[int] = ()
    ) -> Spoken:
        """The reply to a question about a keyframe. draft: see complete.

        split: this share of the visual tokens goes up in place of the picture, as the bridge sends them.
        """
        if split:
            features = read_features(self.features(upload, keep))
            done = self._listener.answer(features, self._instruction(upload), question, MAX_TOKENS)
        else:
            done = self.complete(upload, question, draft)
        return Spoken(done.text, done.tokens)

    def complete(self, upload: Upload, question: str, draft: Sequence[int] = ()) -> Completion:
        """The reply to a picture, with where its time went.

        draft: tokens that the reply may begin with, verified in one pass with the prompt, as speculative decoding does;
        they change no word.
        """
        return self._told(upload).complete(Prompt((), (decoded(upload),), question), draft=draft)

    def beginning(self, answer: str) -> list[int]:
        """The tokens with which a reply of this answer begins."""
        tokenizer = self._engine.architecture.processor.tokenizer
        tokens: list[int] = tokenizer(f'{{"answer": "{answer}', add_special_tokens=False)["input_ids"]
        return tokens

    @torch.inference_mode()
    def features(self, upload: Upload, keep: float = 1.0) -> bytes:
        """What goes up of a keyframe in place of the picture, see features.to_bytes."""
        family, image = self._engine.architecture, decoded(upload)
        return to_bytes(cut(family.see(family.pixels(image)), image, keep, _OWN_EYES))

    def _instruction(self, upload: Upload) -> str:
        """The bridge's, which may tell the size of the image."""
        return instruction(self._bridge.box_format, upload.width, upload.height, self._bridge.max_regions)

    def _told(self, upload: Upload) -> TransformersEngine:
        """The model under the bridge's instruction."""
        system = self._instruction(upload)
        if system not in self._engines:
            architecture = self._engine.architecture
            self._engines[system] = TransformersEngine(architecture, self.name, system, MAX_TOKENS, reuse=False)
        return self._engines[system]


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

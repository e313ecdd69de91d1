# SPDX-License-Identifier: Apache-2.0
"""The language model's half of a partitioned LVLM: answers about features that eyes elsewhere have made of a keyframe.

It works on a model that is loaded already and may serve pictures too. Tokens that did not come up are not shown to the
decoder; those that did keep the positions that they have in the whole view, so that the rest of the prompt is as ever.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from edgevlm_ros.cloud.features import Features, FeaturesError
from edgevlm_ros.edge.architectures.architecture import Architecture, Pixels, Sight
from edgevlm_ros.edge.architectures.wrapped import Wrapped
from edgevlm_ros.edge.engine import Completion, Prompt
from edgevlm_ros.edge.layout import Layout
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.transfer.types import Image, Timings

_REMEMBERED = 8
_WHERE = {"image_grid_thw"}
"""Of what a processor makes of a view, all that positions depend on."""


class Listener:
    """Answers, one at a time. identity: of the eyes that belong to the model, see eyes.identity."""

    def __init__(self, family: Architecture, name: str, identity: bytes) -> None:
        self._told = Told(family)
        self._name, self._identity = name, identity
        self._engine = lru_cache(_REMEMBERED)(self._new_engine)

    def answer(self, features: Features, system: str, question: str, max_tokens: int) -> Completion:
        """Raises FeaturesError for what other eyes have seen."""
        if features.eyes != self._identity:
            raise FeaturesError(
                f"these are features of other eyes than those of {self._name}: robot and server need the same model"
            )
        self._told.look_at(features)
        nothing = np.broadcast_to(np.uint8(0), (features.height, features.width, 3))
        engine = self._engine(system, max_tokens)
        return engine.complete(Prompt((), (nothing,), question), draft=())

    def _new_engine(self, system: str, max_tokens: int) -> TransformersEngine:
        return _Listening(self._told, self._name, system, max_tokens, reuse=False)


class Told(Wrapped):
    """An architecture that sees what it is told."""

    def __init__(self, inner: Architecture) -> None:
        super().__init__(inner)
        self.features: Features | None = None
        self._view = lru_cache(_REMEMBERED)(self._measured)

    def look_at(self, features: Features) -> None:
        """Raises FeaturesError if they are not what this model would have seen in a picture of that size."""
        tokens = len(self._view(features.width, features.height).boxes)
        if features.tokens != tokens:
            raise FeaturesError(
                f"the eyes made {features.tokens} tokens of {features.width}x{features.height} pixels, this model "
                f"makes {tokens}: robot and server need the same model"
            )
        width, deep = self._shape()
        there = (features.layers[0].rows.shape[1], len(features.layers) - 1)
        if there[0] != width or there[1] > deep:
            raise FeaturesError(f"the features have rows of {there[0]} numbers in {there[1] + 1} layers, not {width}")
        self.features = features

    def pixels(self, image: Image, share: float = 1.0) -> Pixels:
        return self._view(image.shape[1], image.shape[0])

    def see(self, pixels: Pixels) -> Sight:
        assert self.features is not None
        kept = torch.from_numpy(self.features.kept.astype(np.int64))
        first, *deep = (self._all(torch.from_numpy(layer.values), kept) for layer in self.features.layers)
        return Sight(first, tuple(deep), pixels)

    def _all(self, values: Tensor, kept: Tensor) -> Tensor:
        """(tokens, D), nothing where no token came up."""
        assert self.features is not None
        rows = values.new_zeros(self.features.tokens, values.shape[1])
        rows[kept] = values
        return rows.to(self.model.device, self.model.dtype)

    def _measured(self, width: int, height: int) -> Pixels:
        """What the processor would make of a picture of this size, less the picture."""
        pixels = self.inner.pixels(np.zeros((height, width, 3), np.uint8))
        inputs = {name: value for name, value in pixels.inputs.items() if name in _WHERE}
        return Pixels(inputs, pixels.placeholder, pixels.boxes, pixels.size)

    def _shape(self) -> tuple[int, int]:
        """The width of a row, and how many deep layers there may be."""
        deep = getattr(self.model.config.vision_config, "deepstack_visual_indexes", ())
        return int(self.decoder.get_input_embeddings().embedding_dim), len(deep)


class _Listening(TransformersEngine):
    """The engine, with what did not come up left out of the prompt."""

    architecture: Told

    def layout(self, prompt: Prompt) -> tuple[Layout, Timings]:
        self._seen.clear()  # another keyframe of the same size is another view
        layout, seeing = super().layout(prompt)
        features = self.architecture.features
        assert features is not None
        stay = ~layout.visual
        visual = torch.nonzero(layout.visual).flatten()
        stay[visual[torch.from_numpy(features.kept.astype(np.int64)).to(visual.device)]] = True
        return replace(layout, kept=torch.nonzero(stay).flatten()), seeing

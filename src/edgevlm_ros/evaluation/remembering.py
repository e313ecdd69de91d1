# SPDX-License-Identifier: Apache-2.0
"""An engine that answers each distinct prompt once, so that a sweep of policies costs what they differ in.

Decoding is greedy, so a prompt has one answer; most policies ask the same plain question about the same frames. What is
remembered goes by content: two policies that cut the same crop share it, whoever came first.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.edge.architectures.architecture import Architecture, Pixels, Sight
from edgevlm_ros.edge.architectures.wrapped import Wrapped
from edgevlm_ros.edge.engine import Capabilities, Completion, Engine, OnToken, Prompt, Stop
from edgevlm_ros.edge.loading import EngineSettings
from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.transfer.types import Image

_DIGESTS = 64
_MOST_BYTES = 256 << 20

Value = TypeVar("Value")


class Shelf(Generic[Value]):
    """Remembers values up to a number of bytes; those that were not asked for go first. The newest always stays."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._held: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

    def put(self, key: Hashable, value: Value, size: int) -> None:
        self._held[key] = (value, size)
        self._bytes += size
        while self._bytes > self._most and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1][1]

    def get(self, key: Hashable) -> Value:
        self._held.move_to_end(key)
        return self._held[key][0]

    def newest_first(self) -> Iterator[Value]:
        return (value for value, _ in reversed(self._held.values()))


class RememberingEngine:
    """An engine with a memory; see edge.engine.Engine.

    asked, answered: prompts that were put to it, and those of them that the model itself had to answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._completions: dict[Hashable, Completion] = {}
        self._features: Shelf[NDArray[np.float32] | None] = Shelf(_MOST_BYTES)
        self._digests = Digests()
        self.asked = self.answered = 0

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    def grid(self, width: int, height: int) -> tuple[int, int]:
        return self._engine.grid(width, height)

    def count_tokens(self, text: str) -> int:
        return self._engine.count_tokens(text)

    def see(self, image: Image) -> NDArray[np.float32] | None:
        key = self._digests.of(image)
        if key not in self._features:
            seen = self._engine.see(image)
            self._features.put(key, seen, 0 if seen is None else seen.nbytes)
        kept = self._features.get(key)
        # a copy: whoever gets features may change them in place
        return None if kept is None else kept.copy()

    def prepare(self, history: Sequence[Exchange]) -> None:
        """Nothing: a prefix that is prefilled ahead changes no answer."""

    def complete(self, prompt: Prompt, on_token: OnToken | None = None, stop: Stop | None = None) -> Completion:
        """Answers to the end, whatever `stop` says, and without tokens on the way."""
        key = self._key(prompt)
        self.asked += 1
        if key not in self._completions:
            self.answered += 1
            self._completions[key] = self._engine.complete(prompt)
        return self._completions[key]

    def _key(self, prompt: Prompt) -> Hashable:
        steered = prompt.focus is not None and (prompt.beta != 0.0 or prompt.keep < 1.0)
        focus = prompt.focus.tobytes() if prompt.focus is not None and steered else b""
        strength = (prompt.beta, prompt.keep) if steered else (0.0, 1.0)
        views = tuple(map(self._digests.of, prompt.images))
        return prompt.history, views, prompt.question, prompt.choices, prompt.pixel_share, focus, strength


class PureEngine(TransformersEngine):
    """The small model as a function of the prompt alone, whatever it was asked before.

    Nothing of a prompt is prefilled for the next one. The draft of an answer is what the history says, which mostly is
    a good guess. settings: as the loaded engine's.
    """

    def __init__(self, loaded: TransformersEngine, settings: EngineSettings) -> None:
        super().__init__(
            RememberingEyes(loaded.architecture),
            loaded.name,
            settings.system_prompt,
            settings.max_new_tokens,
            settings.focus_layers,
            reuse=False,
            choice_temperature=settings.choice_temperature,
        )

    def complete(
        self,
        prompt: Prompt,
        on_token: OnToken | None = None,
        stop: Stop | None = None,
        draft: Sequence[int] | None = None,
    ) -> Completion:
        if draft is None:
            draft = self._words(prompt.history[-1].said) if prompt.history else ()
        return super().complete(prompt, on_token, stop, draft)

    def _words(self, text: str) -> Sequence[int]:
        ids: list[int] = self.architecture.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


class Digests:
    """What an image holds, in 16 bytes. The last ones are known by the object itself."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[NDArray[Any], bytes]] = OrderedDict()

    def of(self, image: NDArray[Any]) -> bytes:
        known = self._known.get(id(image))
        if known is not None and known[0] is image:
            return known[1]
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16)
        digest.update(repr(image.shape).encode())
        self._known[id(image)] = (image, digest.digest())
        while len(self._known) > _DIGESTS:
            self._known.popitem(last=False)
        return digest.digest()


class _View(NamedTuple):
    pixels: Pixels
    sight: Sight


class RememberingEyes(Wrapped):
    """Sees each distinct view once."""

    def __init__(self, inner: Architecture) -> None:
        super().__init__(inner)
        self._views: Shelf[_View] = Shelf(_MOST_BYTES)
        self._digests = Digests()

    def pixels(self, image: Image, share: float = 1.0) -> Pixels:
        key = (self._digests.of(image), share)
        if key not in self._views:
            pixels = self.inner.pixels(image, share)
            sight = self.inner.see(pixels)
            parts = (*pixels.inputs.values(), sight.features, *sight.deep)
            self._views.put(key, _View(pixels, sight), sum(part.nbytes for part in parts))
        return self._views.get(key).pixels

    def see(self, pixels: Pixels) -> Sight:
        for view in self._views.newest_first():
            if view.pixels is pixels:
                return view.sight
        return self.inner.see(pixels)

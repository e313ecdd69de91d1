# SPDX-License-Identifier: Apache-2.0
"""Keys and values of a prompt's beginning, computed once and shared by all frames that begin so.

A frame writes its own tokens behind the shared ones and they are forgotten by setting the length back, so that a frame
copies nothing of a long history. One frame uses a cache at a time.
"""

from collections import OrderedDict
from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_ROOM = 256  # tokens by which a buffer grows beyond what is asked for


class BufferedLayer(DynamicLayer):  # type: ignore[misc]
    """A cache layer that writes into a buffer where the stock one concatenates."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self._buffers = (self._room(key_states, 0), self._room(value_states, 0))
        self._length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self._length + key_states.shape[-2]
        if end > self._buffers[0].shape[-2]:
            keys, values = self._buffers
            self._buffers = (self._room(keys, end), self._room(values, end))
            for old, new in zip((keys, values), self._buffers, strict=True):
                new[..., : self._length, :] = old[..., : self._length, :]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., self._length : end, :] = states
        self.set_length(end)
        return self.keys, self.values

    def set_length(self, length: int) -> None:
        """Forgets what comes after so many tokens."""
        self._length = length
        self.keys, self.values = (buffer[..., :length, :] for buffer in self._buffers)

    @staticmethod
    def _room(like: Tensor, tokens: int) -> Tensor:
        return like.new_empty((*like.shape[:-2], tokens + _ROOM, like.shape[-1]))


def new_cache(decoder: Any) -> DynamicCache:
    """An empty cache for a text decoder."""
    cache = DynamicCache(config=decoder.config)
    if can_share(decoder):
        cache.layers = [BufferedLayer() for _ in cache.layers]
    return cache


def set_back(cache: DynamicCache, length: int) -> None:
    """Forgets what comes after so many tokens, in a cache of a decoder that can_share."""
    for layer in cache.layers:
        layer.set_length(length)


def can_share(decoder: Any) -> bool:
    """Whether the decoder's layers all keep all they have seen: a sliding window cannot be set back."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=decoder.config).layers)


class Prefixes:
    """Beginnings by their token ids: that of each camera's last frame, and the last few besides.

    spare: how many besides for one camera; one more for each further camera, for its next frame's beginning.
    """

    def __init__(self, spare: int = 2) -> None:
        self._spare = spare
        self._caches: OrderedDict[tuple[int, ...], DynamicCache] = OrderedDict()
        self._current: dict[str, tuple[int, ...]] = {}

    def __contains__(self, ids: tuple[int, ...]) -> bool:
        return ids in self._caches

    def put(self, ids: tuple[int, ...], cache: DynamicCache) -> None:
        """Keeps a cache that holds these tokens and perhaps more behind them."""
        self._caches[ids] = cache
        self._caches.move_to_end(ids)
        current = set(self._current.values())
        spare = [each for each in self._caches if each not in current]
        kept = self._spare + max(len(self._current) - 1, 0)
        for each in spare[:-kept]:
            del self._caches[each]

    def get(self, ids: tuple[int, ...], camera: str = "") -> DynamicCache | None:
        """The cache that holds these tokens and nothing else, for one frame of a camera to write behind them."""
        self._current[camera] = ids
        cache = self._caches.get(ids)
        if cache is not None:
            self._caches.move_to_end(ids)
            set_back(cache, len(ids))
        return cache

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from edgevlm_ros.edge.kv_cache import BufferedLayer, Prefixes, can_share, new_cache
from edgevlm_ros.edge.random_models import build


def states(tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(1, 2, tokens, 8), torch.randn(1, 2, tokens, 8)


def test_it_holds_what_the_stock_layer_would_however_it_grows() -> None:
    stock, ours = DynamicLayer(), BufferedLayer()
    for tokens in (3, 1, 250, 1, 700, 2):
        keys, values = states(tokens)
        for expected, held in zip(stock.update(keys, values), ours.update(keys, values), strict=True):
            assert torch.equal(expected, held)
    assert ours.get_seq_length() == stock.get_seq_length() == 957


def test_what_comes_behind_a_beginning_is_forgotten_and_the_beginning_is_not() -> None:
    layer = BufferedLayer()
    keys, values = states(5)
    layer.update(keys, values)
    layer.update(*states(9))
    layer.set_length(5)
    assert torch.equal(layer.keys, keys)
    more = states(2)
    held, _ = layer.update(*more)
    assert torch.equal(held, torch.cat([keys, more[0]], dim=-2))


def test_the_least_used_beginning_goes_first() -> None:
    model, _ = build("tiny-llava")
    decoder = model.model.language_model
    assert can_share(decoder)
    prefixes = Prefixes()
    for ids in ((1,), (2,)):
        cache = new_cache(decoder)
        for layer in cache.layers:
            layer.update(*states(4))
        prefixes.put(ids, cache)
    used = prefixes.get((1,))
    assert used is not None
    assert used.get_seq_length() == 1
    for ids in ((3,), (4,)):
        prefixes.put(ids, new_cache(decoder))
    assert (1,) in prefixes
    assert (2,) not in prefixes
    assert prefixes.get((2,)) is None


def test_every_camera_keeps_its_beginning_whatever_the_others_prepare() -> None:
    model, _ = build("tiny-llava")
    decoder = model.model.language_model

    def filled() -> DynamicCache:
        cache = new_cache(decoder)
        for layer in cache.layers:
            layer.update(*states(4))
        return cache

    prefixes = Prefixes()
    cameras = [str(number) for number in range(5)]
    for number, camera in enumerate(cameras):
        assert prefixes.get((number,), camera) is None
        prefixes.put((number,), filled())
    for number in range(5):  # prepared for the next frame of each, at once
        prefixes.put((10 + number,), filled())
    assert all((10 + number,) in prefixes and (number,) in prefixes for number in range(5))
    for number in range(100, 200):  # one camera whose history changes with every frame
        prefixes.put((number,), filled())
        prefixes.get((number,), "0")
    assert all((number,) in prefixes for number in range(1, 5))
    assert sum((number,) in prefixes for number in range(200)) <= 11

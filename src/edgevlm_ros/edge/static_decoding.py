# SPDX-License-Identifier: Apache-2.0
"""Decoding in shapes and places that never change, so that a GPU replays the whole pass of a token as one CUDA graph.

A small model's kernels are done sooner than Python has started the next ones: a decoder of 36 layers starts about a
thousand for each token. A graph starts them all at once, and takes its inputs where it was recorded with them. So keys
and values of the prompt are copied behind each other into buffers of one size, what is not written yet is masked, and
the token, its position and the attention bias of the focus are tensors too. The token that a pass chooses is where the
next pass reads it. The prompt itself is prefilled as ever.

On the CPU there are no graphs; the same passes run one by one, for tests.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from edgevlm_ros.edge.greedy import choice
from edgevlm_ros.edge.kv_cache import can_share

COMPILERS = {"graph": "", "compiled": "inductor"}
"""How a static pass is computed: backend of torch.compile, or "" for the model's code as it is."""

_STOCK, _STATIC = "sdpa", "edgevlm_static_sdpa"
_ALIGNED = 64  # keys: kernels that take a mask want its rows aligned
_WARM_UPS = 3  # passes before a recording: libraries choose kernels and reserve memory in the first ones
_TRIED_TOKENS, _TRIED_STEPS = 8, 2
_TOLERANCE = 0.1  # of the largest logit; bfloat16 differs by some hundredths, a graph that reads a wrong place by all


class StaticError(Exception):
    """Why a model cannot be decoded so, here."""


def room_for(tokens: int) -> int:
    """Tokens that the buffers hold, for a prompt and its answer of so many."""
    return -(-tokens // _ALIGNED) * _ALIGNED


class _Layer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of a fixed room, written where `slot` says."""

    def __init__(self, like: Any, room: int, slot: Tensor) -> None:
        super().__init__()
        self.keys, self.values = (
            torch.zeros((*held.shape[:-2], room, held.shape[-1]), dtype=held.dtype, device=held.device)
            for held in (like.keys, like.values)
        )
        self._slot = slot
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None: ...

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        self.keys.index_copy_(2, self._slot, key_states)
        self.values.index_copy_(2, self._slot, value_states)
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_max_length(), 0

    def get_seq_length(self) -> int:
        return 0  # the mask and the positions are given, so nobody counts from it

    def get_max_length(self) -> int:
        return int(self.keys.shape[-2])


class StaticDecoder:
    """A decoder's passes for one token, as a CUDA graph where there is one.

    head: from hidden states to logits. shape: of a token's positions, all dimensions but the last. steered: indices of
    the layers that take the attention bias. room: tokens of prompt and answer together. compiler: see COMPILERS.
    Raises StaticError, also where what it computes is not what the decoder does.
    """

    @torch.inference_mode()
    def __init__(
        self,
        decoder: Any,
        head: Any,
        shape: tuple[int, ...],
        steered: frozenset[int],
        room: int,
        compiler: str = "",
    ) -> None:
        if not can_share(decoder):
            raise StaticError("it has layers with a sliding window")
        if decoder.config._attn_implementation != _STOCK:
            raise StaticError(f"its attention is {decoder.config._attn_implementation}, not {_STOCK}")
        self._decoder = decoder
        self._head = head
        self._steered = steered
        self.room = room_for(room)
        weights = decoder.get_input_embeddings().weight
        device = weights.device
        self._token = torch.zeros((1, 1), dtype=torch.long, device=device)
        self._slot = torch.zeros(1, dtype=torch.long, device=device)
        self._positions = torch.zeros((*shape, 1), dtype=torch.long, device=device)
        self._keys = torch.arange(self.room, device=device)
        self._best = torch.zeros(2, dtype=torch.float64, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        try:
            ids = torch.arange(_TRIED_TOKENS, device=device)[None]
            cache = DynamicCache(config=decoder.config)
            logits = self._plainly(ids, cache, 0)
            self._cache = Cache(layers=[_Layer(layer, self.room, self._slot) for layer in cache.layers])
            self._bias = torch.zeros(self.room, dtype=cache.layers[0].keys.dtype, device=device)
            self._logits = torch.zeros_like(logits)
            self._compute = (
                torch.compile(self._computed, backend=compiler, dynamic=False) if compiler else self._computed
            )
            if device.type == "cuda":
                self._graph = self._recorded(device)
            self._try(cache, logits)
        except StaticError:
            raise
        except Exception as error:  # of a compiler, a driver, a kernel that cannot be recorded: the growing way remains
            raise StaticError(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}") from error

    def steps(self, cache: Any, length: int, most: int, position: Tensor, bias: Tensor | None) -> "StaticSteps | None":
        """Behind a prompt of so many tokens in a growing cache; None if an answer of so many does not fit behind it.

        position: (), of the answer's first token. bias: (length,), added to the logits of the prompt's keys.
        """
        if length + most > self.room:
            return None
        return StaticSteps(self, cache, length, position, bias)

    def forget(self) -> None:
        """What has been written: a mask hides a key, and does not hide a value that is no number."""
        for layer in self._cache.layers:
            layer.keys.zero_()
            layer.values.zero_()

    def begin(self, cache: Any, length: int, token: int, position: Tensor, bias: Tensor | None) -> None:
        """Behind the first so many tokens of a growing cache; position: (), of this token."""
        for ours, theirs in zip(self._cache.layers, cache.layers, strict=True):
            ours.keys[..., :length, :].copy_(theirs.keys[..., :length, :])
            ours.values[..., :length, :].copy_(theirs.values[..., :length, :])
        self._token.fill_(token)
        self._slot.fill_(length)
        self._positions.copy_(position.expand_as(self._positions))
        self._bias.zero_()
        if bias is not None:
            self._bias[: len(bias)].copy_(bias)

    def run(self) -> tuple[int, float]:
        """One pass: see Steps.next. The token before is the one that it chose last."""
        if self._graph is None:
            self._pass()
        else:
            self._graph.replay()
        token, score = self._best.tolist()
        return int(token), score

    def _pass(self) -> None:
        with _attending(self._decoder.config):
            logits = self._compute(self._token, self._slot, self._positions, self._bias)
        self._logits.copy_(logits)
        self._best.copy_(choice(logits[None])[0])
        self._token.copy_(self._best[0].long().view(1, 1))
        self._slot.add_(1)
        self._positions.add_(1)

    def _computed(self, token: Tensor, slot: Tensor, positions: Tensor, bias: Tensor) -> Tensor:
        """Logits (vocabulary,) behind a token (1, 1)."""
        unseen = self._keys > slot
        masks = torch.stack([torch.zeros_like(bias), bias]).masked_fill(unseen, float("-inf"))
        output = self._decoder(
            inputs_embeds=self._decoder.get_input_embeddings()(token),
            attention_mask=masks[None, :, None],
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            edgevlm_steered=self._steered,
        )
        return torch.as_tensor(self._head(output.last_hidden_state[0, -1]))

    def _recorded(self, device: torch.device) -> torch.cuda.CUDAGraph:
        with torch.cuda.device(device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    self._pass()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # other threads of the process may use the device meanwhile
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._pass()
        return graph

    def _plainly(self, ids: Tensor, cache: Any, before: int) -> Tensor:
        """Logits behind some tokens (1, n), as the decoder computes them by itself."""
        positions = torch.arange(before, before + ids.shape[1], device=ids.device)
        output = self._decoder(
            inputs_embeds=self._decoder.get_input_embeddings()(ids),
            position_ids=positions.expand(*self._positions.shape[:-1], -1),
            past_key_values=cache,
            use_cache=True,
        )
        return torch.as_tensor(self._head(output.last_hidden_state[0, -1]))

    def _try(self, cache: Any, logits: Tensor) -> None:
        """Some steps behind a prompt, both ways."""
        token = int(logits.argmax())
        self.begin(cache, _TRIED_TOKENS, token, torch.tensor(_TRIED_TOKENS, device=logits.device), None)
        for step in range(_TRIED_STEPS):
            following, _ = self.run()
            expected = self._plainly(torch.tensor([[token]], device=logits.device), cache, _TRIED_TOKENS + step)
            apart = float((self._logits - expected).float().abs().amax() / expected.float().abs().amax())
            if not apart < _TOLERANCE:
                raise StaticError(f"it computes something else: logits are apart by {apart:.0%} of the largest")
            token = following


class StaticSteps:
    """Steps behind one prompt; what is in the growing cache is copied when the first step needs it."""

    def __init__(self, decoder: StaticDecoder, cache: Any, length: int, position: Tensor, bias: Tensor | None) -> None:
        self._decoder = decoder
        self._prompt = (cache, length, position, bias)
        self._begun = False

    def next(self, token: int, before: int) -> tuple[int, float]:
        if not self._begun:
            cache, length, position, bias = self._prompt
            self._decoder.begin(cache, length + before, token, position + before, bias)
            self._begun = True
        return self._decoder.run()


@contextmanager
def _attending(config: Any) -> Iterator[None]:
    config._attn_implementation = _STATIC
    try:
        yield
    finally:
        config._attn_implementation = _STOCK


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    edgevlm_steered: frozenset[int] = frozenset(),
    **more: Any,
) -> tuple[Tensor, None]:
    """(1, heads, 1, D) on (1, groups, keys, D) gives (1, 1, heads, D). attention_mask: (1, 2, 1, keys), for layers that
    are not steered and for those that are. The heads of a group are queries of one head: no key is copied for them."""
    steered = int(module.layer_idx in edgevlm_steered)
    packed = query.reshape(1, key.shape[1], -1, query.shape[-1])
    mask = attention_mask[:, steered : steered + 1]
    output = torch.nn.functional.scaled_dot_product_attention(packed, key, value, attn_mask=mask, scale=scaling)
    return output.reshape(1, 1, query.shape[1], value.shape[-1]), None


ALL_ATTENTION_FUNCTIONS.register(_STATIC, _attend)

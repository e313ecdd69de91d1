# SPDX-License-Identifier: Apache-2.0
"""Any of the model families in `architectures`, through transformers on the robot's own CPU or GPU.

The prompt is [system][history][image][second view][question]. What stands before the image is prefilled once for each
history, off the frames' path, and reused by every frame. Behind the prompt stands a draft, the last frame's answer:
where it is right again nothing is left to decode. Decoding is greedy; the tokens are those of `generate`.
"""

import gc
import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.choices import TokenTree, token_tree
from edgevlm_ros.edge.drafts import Drafts, agreed
from edgevlm_ros.edge.engine import Capabilities, Completion, EngineError, OnToken, Prompt, Stop
from edgevlm_ros.edge.greedy import GrowingSteps, NoNumbers, Steps, answered
from edgevlm_ros.edge.grouped_attention import grouped_heads
from edgevlm_ros.edge.kv_cache import Prefixes, can_share, new_cache
from edgevlm_ros.edge.layout import Layout, laid_out
from edgevlm_ros.edge.prompt_text import PromptText
from edgevlm_ros.edge.seen_views import SeenViews
from edgevlm_ros.edge.static_decoding import COMPILERS, StaticDecoder, StaticError
from edgevlm_ros.edge.steering import attention_bias
from edgevlm_ros.edge.turns import Turns
from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.transfer.focus import FOCUS_MODES
from edgevlm_ros.transfer.types import Image, Timings

# A slice of background prefill may take this share of a frame's time, and a frame waits for one slice at most. Below
# some tokens a slice costs the same, whatever their number.
_SLICE_SHARE = 0.1
_SLICE_TOKENS = (32, 1024)
# Tokens of a prompt that static decoding has room for; an answer to a longer one is decoded on its growing cache.
STATIC_ROOM = 2048

DECODINGS = ("growing", *COMPILERS)

_log = logging.getLogger(__name__)


class TransformersEngine:
    """A loaded model; see edge.engine.Engine.

    focus_layers: indices of the decoder layers that attention focus steers; empty for all. reuse: whether the text
    before the image is prefilled ahead. draft: whether the last answer to a question is tried as the next one's draft.
    decoding: one of DECODINGS: on a cache that grows; or statically, as a CUDA graph of the model's own kernels or of
    compiled ones. What cannot be done statically is done on the growing cache, and a warning says why.
    choice_temperature: by which the logarithms of the choices' probabilities are divided, see edge.preset.Preset.
    """

    def __init__(
        self,
        architecture: Architecture,
        name: str,
        system_prompt: str = "",
        max_new_tokens: int = 32,
        focus_layers: tuple[int, ...] = (),
        reuse: bool = True,
        draft: bool = True,
        decoding: str = "growing",
        choice_temperature: float = 1.0,
    ) -> None:
        self.architecture = architecture
        self._name = name
        self._max_new_tokens = max_new_tokens
        self._choice_temperature = choice_temperature
        self._model = architecture.model
        self._decoder = architecture.decoder
        self._tokenizer = architecture.processor.tokenizer
        self._device = self._model.device
        layers = self._decoder.layers
        chosen = focus_layers or tuple(range(len(layers)))
        if not all(0 <= index < len(layers) for index in chosen):
            raise EngineError(f"focus layers {list(chosen)} are not all in 0..{len(layers) - 1} of {name}")
        self._attentions = [layers[index].self_attn for index in chosen]
        self._static = (
            None if decoding == DECODINGS[0] else self._static_decoder(COMPILERS[decoding], frozenset(chosen))
        )
        shares = can_share(self._decoder)
        self._capabilities = Capabilities(
            frozenset(FOCUS_MODES), reuse and shares, True, architecture.resolution, choices=shares
        )
        self._ends = _end_tokens(self._model, self._tokenizer)
        self.prompt_text = PromptText(architecture, name, system_prompt)
        self._turns = Turns()
        self._prefixes = Prefixes()
        self._drafts = Drafts()
        self._drafting = draft and can_share(self._decoder)
        self._seen = SeenViews(architecture)
        self._slice = 64  # tokens; adapts to the frames' time
        self._frame_time = 0.0

    @property
    def name(self) -> str:
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def grid(self, width: int, height: int) -> tuple[int, int]:
        return self.architecture.grid(width, height)

    def count_tokens(self, text: str) -> int:
        # the backend's encode changes no state, so any thread may count while another one tokenises
        return len(self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)

    @torch.inference_mode()
    def see(self, image: Image) -> NDArray[np.float32] | None:
        with self._turns.frame(ends=False):
            view = self._seen.see(image, 1.0)
        return view.on_grid(*self.grid(image.shape[1], image.shape[0]))

    def give_back(self) -> None:
        """See edge.memory_budget.Caching."""
        with self._turns.frame(ends=False):
            self._prefixes = Prefixes()
            self._drafts = Drafts()
            self._seen.clear()
            gc.collect()  # a cache that failed half-way may be part of a cycle
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    # -- the prompt's beginning --------------------------------------------------------------------------------------

    @torch.inference_mode()
    def prepare(self, history: Sequence[Exchange]) -> None:
        if not self._capabilities.reuse:
            return
        ids = self.prompt_text.beginning(tuple(history))
        if not ids or ids in self._prefixes:
            return
        tensor = torch.tensor([ids], device=self._device)
        positions = self.architecture.positions(tensor, ())
        cache, done = new_cache(self._decoder), 0
        while done < len(ids):
            with self._turns.slice():
                start = time.monotonic()
                end = min(len(ids), done + self._slice)
                self._forward(self._embed(tensor[:, done:end]), positions[..., done:end], cache)
                self.architecture.wait()
                self._adapt_slice(time.monotonic() - start)
            done = end
        with self._turns.slice():
            self._prefixes.put(ids, cache)

    def prepared(self, history: Sequence[Exchange]) -> bool:
        """Whether a frame with this history need not wait for its prefill."""
        ids = self.prompt_text.beginning(tuple(history)) if self._capabilities.reuse else ()
        return not ids or ids in self._prefixes

    def _adapt_slice(self, elapsed: float) -> None:
        if self._frame_time:
            wanted = self._slice * _SLICE_SHARE * self._frame_time / max(elapsed, 1e-6)
            wanted = min(max(wanted, self._slice / 2), self._slice * 2)
            self._slice = int(min(max(wanted, _SLICE_TOKENS[0]), _SLICE_TOKENS[1]))

    # -- one answer --------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def complete(
        self,
        prompt: Prompt,
        on_token: OnToken | None = None,
        stop: Stop | None = None,
        draft: Sequence[int] | None = None,
    ) -> Completion:
        """See edge.engine.Engine. draft: token ids that the answer may begin with, in place of the last answer.

        A draft costs or saves time and changes no token. None of it remains if it was wrong. One of the prompt's
        choices takes one pass and neither a draft nor a stop.
        """
        if prompt.choices:
            return self._chosen(prompt, on_token)
        with self._turns.frame():
            start = time.monotonic()
            layout, seeing = self.layout(prompt)
            guessed = self._guessed(prompt, draft)
            prepared = time.monotonic()
            focus = layout.bias(prompt)
            with self._steering(focus):
                logits, cache, reused = self._prefill(layout, guessed, camera=prompt.camera)
                self.architecture.wait()
            first = time.monotonic()
            tokens, confidence = self._decode(logits, guessed, layout, cache, focus, on_token, stop)
            end = time.monotonic()
            self._drafts.put(prompt.question, tokens, prompt.camera)
        timings = replace(seeing, prefill=first - prepared, decode=end - first)
        self._frame_time = timings.total
        return Completion(
            text=self._tokenizer.decode(tokens, skip_special_tokens=True).strip(),
            confidence=confidence,
            first_token_time=first - start,
            timings=timings,
            tokens=tuple(tokens),
            prompt_tokens=layout.length,
            visual_tokens=layout.visual_tokens,
            reused_tokens=reused,
            drafted_tokens=len(guessed),
            accepted_tokens=agreed(guessed, tokens),
        )

    def _chosen(self, prompt: Prompt, on_token: OnToken | None) -> Completion:
        """The most probable of the prompt's choices."""
        if not self._capabilities.choices:
            raise EngineError(f"{self._name} forgets what is far behind, so it cannot weigh choices: set none")
        with self._turns.frame():
            start = time.monotonic()
            layout, seeing = self.layout(prompt)
            answers = self.prompt_text.answers(len(prompt.images), prompt.question, prompt.choices)
            tree = token_tree(answers)
            prepared = time.monotonic()
            with self._steering(layout.bias(prompt)):
                logits, _, reused = self._prefill(layout, tree.tokens, tree, prompt.camera)
            scores = tree.scores(logits, sorted(self._ends))
            end = time.monotonic()
        if not torch.isfinite(scores).all():
            self._prefixes = Prefixes()  # they may hold it too
            raise EngineError(self._no_numbers())
        probabilities = torch.softmax(scores.double() / self._choice_temperature, -1)
        best = int(probabilities.argmax())
        timings = replace(seeing, prefill=end - prepared)
        self._frame_time = timings.total
        if on_token is not None:
            on_token(prompt.choices[best])
        return Completion(
            text=prompt.choices[best],
            confidence=float(probabilities[best]),
            first_token_time=end - start,
            timings=timings,
            tokens=answers[best],
            prompt_tokens=layout.length,
            visual_tokens=layout.visual_tokens,
            reused_tokens=reused,
            probabilities=tuple(probabilities.tolist()),
        )

    def _guessed(self, prompt: Prompt, draft: Sequence[int] | None) -> tuple[int, ...]:
        """The tokens to verify; the last one of the longest answer needs no successor, so it comes without a draft."""
        if not self._drafting:
            return ()
        if draft is None:
            draft = self._drafts.get(prompt.question, prompt.camera)
        return tuple(draft)[: self._max_new_tokens - 1]

    def layout(self, prompt: Prompt) -> tuple[Layout, Timings]:
        """Sees what has not been seen, and lays the prompt out; what was seen ahead of it is in its timings too."""
        seen = [self._seen.see(image, prompt.pixel_share) for image in prompt.images]
        start = time.monotonic()
        preparing = sum(view.prepare for view in seen if not view.told)
        seeing = sum(view.vision for view in seen if not view.told)
        for view in seen:
            view.told = True
        sights = tuple(view.sight for view in seen)
        views = [sight.pixels.placeholder for sight in sights]
        ids = torch.tensor([self.prompt_text.rest(views, prompt.question)], device=self._device)
        beginning = self.prompt_text.beginning(prompt.history)
        layout = laid_out(self.architecture, beginning, ids, sights, prompt)
        return layout, Timings(preparing + time.monotonic() - start, seeing)

    def logits(self, prompt: Prompt) -> Tensor:
        """The logits of the first token, (vocabulary,), exactly as `complete` computes them."""
        with torch.inference_mode(), self._turns.frame():
            layout, _ = self.layout(prompt)
            with self._steering(layout.bias(prompt)):
                return self._prefill(layout, camera=prompt.camera)[0][0]

    def _embed(self, ids: Tensor) -> Tensor:
        return torch.as_tensor(self._decoder.get_input_embeddings()(ids))

    def _forward(self, embedded: Tensor, positions: Tensor, cache: Any, **more: Any) -> Tensor:
        """The decoder's last hidden states."""
        with grouped_heads(self._decoder.config):
            output = self._decoder(
                inputs_embeds=embedded, position_ids=positions, past_key_values=cache, use_cache=True, **more
            )
        return torch.as_tensor(output.last_hidden_state)

    def _prefill(
        self, layout: Layout, draft: tuple[int, ...] = (), tree: TokenTree | None = None, camera: str = ""
    ) -> tuple[Tensor, Any, int]:
        """Logits behind the prompt and behind each token of the draft, (1 + draft, vocabulary); the cache behind all
        of it; and how many tokens had been there. tree: how the draft's tokens stand, if not in a line."""
        beginning = layout.beginning
        share = bool(beginning) and self._capabilities.reuse
        cache = self._prefixes.get(beginning, camera) if share else None
        reused = 0 if cache is None else len(beginning)
        tokens = layout.ids[:, layout.kept]
        positions = layout.positions[..., layout.kept]
        visual = layout.visual[layout.kept][None]
        embedded, deep = layout.shown(self._embed(tokens))
        if cache is None:
            cache = new_cache(self._decoder)
        if draft:
            behind = torch.tensor([draft], device=self._device)
            embedded = torch.cat([embedded, self._embed(behind)], dim=1)
            following = layout.following(0, len(draft))
            if tree is not None:
                following = following[..., list(tree.depths)]
            positions = torch.cat([positions, following], dim=-1)
            visual = torch.cat([visual, torch.zeros_like(behind, dtype=torch.bool)], dim=1)
        if beginning and not reused:
            before = torch.tensor([beginning], dtype=torch.long, device=self._device)
            embedded = torch.cat([self._embed(before), embedded], dim=1)
            positions = torch.cat([self.architecture.positions(before, ()), positions], dim=-1)
            visual = torch.cat([torch.zeros_like(before, dtype=torch.bool), visual], dim=1)
        more = self.architecture.decoder_inputs(deep, visual)
        if tree is not None:
            allowed = tree.mask(reused, embedded.shape[1]).to(self._device)
            more["attention_mask"] = embedded.new_zeros(allowed.shape).masked_fill(~allowed, float("-inf"))
        hidden = self._forward(embedded, positions, cache, **more)
        if share and not reused:
            self._prefixes.put(beginning, cache)
        return self._model.lm_head(hidden[0, -1 - len(draft) :]), cache, reused

    def _steering(self, focus: tuple[Tensor, int] | None) -> AbstractContextManager[None]:
        return nullcontext() if focus is None else attention_bias(self._attentions, *focus)

    def _decode(
        self,
        logits: Tensor,
        draft: tuple[int, ...],
        layout: Layout,
        cache: Any,
        focus: tuple[Tensor, int] | None,
        on_token: OnToken | None,
        stop: Stop | None,
    ) -> tuple[list[int], float]:
        """See greedy.answered. logits, cache: see _prefill."""

        def forward(token: int, before: int) -> Tensor:
            step = torch.tensor([[token]], device=self._device)
            with self._steering(focus):
                hidden = self._forward(self._embed(step), layout.following(before, 1), cache)
            return torch.as_tensor(self._model.lm_head(hidden[0, -1]))

        length = layout.length
        steps: Steps = GrowingSteps(forward, cache, length)
        if self._static is not None:
            bias = None if focus is None else focus[0]
            position = layout.positions.amax() + 1
            steps = self._static.steps(cache, length, self._max_new_tokens, position, bias) or steps
        try:
            return answered(logits, draft, steps, self._tokenizer, self._ends, self._max_new_tokens, on_token, stop)
        except NoNumbers:
            self._prefixes = Prefixes()  # they may hold it too
            if self._static is not None:
                self._static.forget()
            raise EngineError(self._no_numbers()) from None

    def _static_decoder(self, compiler: str, steered: frozenset[int]) -> StaticDecoder | None:
        shape = tuple(self.architecture.positions(torch.zeros((1, 1), dtype=torch.long, device=self._device), ()).shape)
        room = STATIC_ROOM + self._max_new_tokens
        try:
            return StaticDecoder(self._decoder, self._model.lm_head, shape[:-1], steered, room, compiler)
        except StaticError as error:
            _log.warning("%s is decoded on a growing cache: %s", self._name, error)
            return None

    def _no_numbers(self) -> str:
        kind = str(self._model.dtype).removeprefix("torch.")
        return (
            f"{self._name} computed NaN or infinity instead of probabilities, in {kind}: float16 overflows where "
            "bfloat16 and float32 do not; set quantization to none; if it stays, the weights are damaged: fetch the "
            "model's folder again"
        )


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return frozenset(int(token) for token in (*ends, tokenizer.eos_token_id) if token is not None)

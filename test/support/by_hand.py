# SPDX-License-Identifier: Apache-2.0
"""A prompt taken through an architecture's parts step by step, as the engine does, and through the stock model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache
from transformers.quantizers.quantizers_utils import should_convert_module

from edgevlm_ros.edge.architectures.architecture import Architecture

RNG = np.random.default_rng(0)
FRAME = RNG.integers(0, 256, (112, 160, 3), dtype=np.uint8)
CROP = RNG.integers(0, 256, (90, 70, 3), dtype=np.uint8)
HISTORY = (("What is there?", "A red box, on the left."), ("And now?", "The same."))
PROMPTS = {"one view": ((FRAME,), ()), "two views": ((FRAME, CROP), ()), "a history": ((FRAME,), HISTORY)}


def worded(processor: Any, views: int, history: Sequence[tuple[str, str]]) -> str:
    """A prompt with one image token for each view, in the model's own chat template."""
    messages: list[dict[str, Any]] = []
    for asked, said in history:
        messages.append({"role": "user", "content": [{"type": "text", "text": asked}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": said}]})
    content = [*({"type": "image"} for _ in range(views)), {"type": "text", "text": "Where is the person?"}]
    messages.append({"role": "user", "content": content})
    return str(processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


@torch.inference_mode()
def stock_logits(
    architecture: Architecture, images: Sequence[NDArray[np.uint8]], history: Sequence[tuple[str, str]]
) -> Tensor:
    """(L, vocabulary) of the whole prompt, from the model's own forward on its processor's inputs."""
    processor = architecture.processor
    text = worded(processor, len(images), history)
    output = architecture.model(**processor(text=[text], images=list(images), return_tensors="pt"))
    return torch.as_tensor(output.logits[0])


@torch.inference_mode()
def logits_by_hand(
    architecture: Architecture,
    images: Sequence[NDArray[np.uint8]],
    history: Sequence[tuple[str, str]],
    splits: Sequence[int] = (),
) -> Tensor:
    """The same through the decoder alone: in pieces that end at `splits`, with explicit positions and a KV cache."""
    sights = tuple(architecture.see(architecture.pixels(image)) for image in images)
    first, *rest = worded(architecture.processor, len(images), history).split(architecture.image_token)
    views = [sight.pixels.placeholder for sight in sights]
    text = first + "".join(view + after for view, after in zip(views, rest, strict=True))
    ids = torch.tensor([architecture.processor.tokenizer(text)["input_ids"]])
    positions = architecture.positions(ids, sights)
    visual = ids == architecture.image_token_id
    features = torch.cat([sight.features for sight in sights])
    deep = [torch.cat(parts) for parts in zip(*(sight.deep for sight in sights), strict=True)]
    embedded = architecture.decoder.get_input_embeddings()(ids).masked_scatter(visual[..., None], features)
    cache, logits, seen = DynamicCache(config=architecture.decoder.config), [], 0
    bounds = [0, *splits, ids.shape[1]]
    for start, end in itertools.pairwise(bounds):
        count = int(visual[:, start:end].sum())
        here = tuple(part[seen : seen + count] for part in deep) if count else ()
        seen += count
        output = architecture.decoder(
            inputs_embeds=embedded[:, start:end],
            position_ids=positions[..., start:end],
            past_key_values=cache,
            use_cache=True,
            **architecture.decoder_inputs(here, visual[:, start:end]),
        )
        logits.append(architecture.model.lm_head(output.last_hidden_state[0]))
    return torch.cat(logits)


def change_by_token(architecture: Architecture, box: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """How much each visual token's input changes (n,), when this part of a grey view is painted white."""
    grey = np.full((96, 128, 3), 90, np.uint8)
    painted = grey.copy()
    x0, y0, x1, y1 = (round(edge * side) for edge, side in zip(box, (128, 96, 128, 96), strict=True))
    painted[y0:y1, x0:x1] = 255
    with torch.inference_mode():
        before, after = (architecture.see(architecture.pixels(image)).features for image in (grey, painted))
    change: NDArray[np.float32] = (after - before).norm(dim=-1).numpy()
    return change


def quantised(architecture: Architecture) -> list[torch.nn.Module]:
    """The layers that bitsandbytes would quantise when it is told to skip the architecture's full_precision."""
    patterns = list(architecture.full_precision)
    return [
        module
        for name, module in architecture.model.named_modules()
        if isinstance(module, torch.nn.Linear) and should_convert_module(name, patterns)
    ]


def decoder_layers(architecture: Architecture) -> list[torch.nn.Module]:
    """Every linear layer of the text decoder."""
    return [module for module in architecture.decoder.modules() if isinstance(module, torch.nn.Linear)]

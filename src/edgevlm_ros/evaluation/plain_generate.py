# SPDX-License-Identifier: Apache-2.0
"""The stock way to answer a prompt: the model's own processor and `generate`, and where its time goes.

What the engine is compared with, for its tokens and its speed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch

from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.engine import Prompt


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """Times are seconds. prepare: the processor's. total: of `generate` alone, from its start; in it are vision (tower
    and projector), prefill (the decoder's first pass, without embedding and head) and first_token (until that pass is
    done)."""

    tokens: tuple[int, ...]
    prepare: float
    vision: float
    prefill: float
    first_token: float
    total: float


def conversation(prompt: Prompt) -> list[dict[str, Any]]:
    """A prompt as the messages that chat templates take."""
    messages: list[dict[str, Any]] = []
    for exchange in prompt.history:
        messages.append({"role": "user", "content": [{"type": "text", "text": exchange.asked}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": exchange.said}]})
    content = [*({"type": "image"} for _ in prompt.images), {"type": "text", "text": prompt.question}]
    return [*messages, {"role": "user", "content": content}]


@torch.inference_mode()
def answer_plainly(architecture: Architecture, prompt: Prompt, new_tokens: int) -> PlainAnswer:
    """Answers greedily with at most so many tokens. Focus is not applied, beyond what the images and words show."""
    model, processor = architecture.model, architecture.processor
    start = time.perf_counter()
    text = processor.apply_chat_template(conversation(prompt), tokenize=False, add_generation_prompt=True)
    inputs = processor(text=[text], images=list(prompt.images), return_tensors="pt").to(model.device)
    prepared = time.perf_counter()
    with _watched(architecture) as watch:
        output = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
        tokens = tuple(output[0, inputs["input_ids"].shape[1] :].tolist())
    end = time.perf_counter()
    begin, done = watch.passes[0]
    return PlainAnswer(tokens, prepared - start, watch.vision, done - begin, done - prepared, end - prepared)


@dataclass(slots=True)
class _Watch:
    """vision: seconds. passes: (begin, end) of each of the decoder's passes, seconds on the steady clock."""

    vision: float = 0.0
    passes: list[tuple[float, float]] = field(default_factory=list)


@contextmanager
def _watched(architecture: Architecture) -> Iterator[_Watch]:
    """Takes the time of the parts of whatever the model does while the context lasts."""
    watch, begun, inner = _Watch(), [0.0], architecture.model.model
    see = inner.get_image_features

    @wraps(see)  # generate looks at its signature
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = _now(architecture)
        features = see(*args, **kwargs)
        watch.vision += _now(architecture) - start
        return features

    def before(*_: Any) -> None:
        begun[0] = _now(architecture)

    def after(*_: Any) -> None:
        watch.passes.append((begun[0], _now(architecture)))

    inner.get_image_features = timed
    handles = [
        architecture.decoder.register_forward_pre_hook(before),
        architecture.decoder.register_forward_hook(after),
    ]
    try:
        yield watch
    finally:
        del inner.get_image_features
        for handle in handles:
            handle.remove()


def _now(architecture: Architecture) -> float:
    if architecture.model.device.type == "cuda":
        torch.cuda.synchronize(architecture.model.device)
    return time.perf_counter()

# SPDX-License-Identifier: Apache-2.0
"""Qwen2.5-VL through transformers: the first engine.

The prompt is [system][history][image][second view][question]. Decoding is greedy in a loop of our own rather than in
`generate`, so that tokens stream, an answer can be stopped within one token, and probabilities come for free.
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, BitsAndBytesConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from edgevlm_ros.edge.engine import Completion, EngineError, OnToken, Prompt, Stop
from edgevlm_ros.edge.processing import load_processor
from edgevlm_ros.edge.steering import attention_bias
from edgevlm_ros.transfer.focus import FocusMode

QUANTIZATIONS = ("none", "nf4", "int8")

# Kept in full precision: the eyes and the head. Plain "visual" matches nothing in transformers 5.
_NOT_QUANTIZED = ["model.visual", "lm_head"]


@dataclass(frozen=True, slots=True)
class QwenSettings:
    """How to load and run the model.

    model: a folder or a hub id. device: auto, cpu, cuda, cuda:1, ... quantization: see QUANTIZATIONS. threads: CPU
    threads of torch, 0 for its own choice. system_prompt: told before the history, if not empty. focus_layers: indices
    of the decoder layers that attention focus steers; empty for all.
    """

    model: str
    device: str = "auto"
    quantization: str = "none"
    threads: int = 0
    system_prompt: str = ""
    max_new_tokens: int = 32
    focus_layers: tuple[int, ...] = ()


class QwenEngine:
    """A loaded Qwen2.5-VL; see edge.engine.Engine. Raises EngineError if it cannot be loaded as asked."""

    focus_modes: frozenset[FocusMode] = frozenset({"none", "attention", "crop"})

    def __init__(self, settings: QwenSettings) -> None:
        self._settings = settings
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._device = _device(settings.device)
        try:
            config = AutoConfig.from_pretrained(settings.model)
            if config.model_type != "qwen2_5_vl":
                raise EngineError(
                    f"{settings.model} is a {config.model_type!r} model; the edge engine runs Qwen2.5-VL ('qwen2_5_vl')"
                )
            self._model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
                settings.model,
                dtype=torch.float32 if self._device.type == "cpu" else torch.bfloat16,
                device_map={"": self._device},
                use_safetensors=True,
                quantization_config=_quantization(settings.quantization, self._device),
            ).eval()
            self._processor = load_processor(settings.model)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"cannot load the edge model {settings.model}: {error}") from error
        layers = self._model.model.language_model.layers
        chosen = settings.focus_layers or tuple(range(len(layers)))
        if not all(0 <= index < len(layers) for index in chosen):
            raise EngineError(f"focus layers {list(chosen)} are not all in 0..{len(layers) - 1} of {settings.model}")
        self._attentions = [layers[index].self_attn for index in chosen]
        self._image_token = int(self._model.config.image_token_id)
        self._ends = _end_tokens(self._model, self._processor.tokenizer)
        markup = set(self._processor.tokenizer.get_added_vocab()) | set(self._processor.tokenizer.all_special_tokens)
        self._markup = sorted(markup, key=len, reverse=True)

    @property
    def name(self) -> str:
        return Path(self._settings.model).name or self._settings.model

    def grid(self, width: int, height: int) -> tuple[int, int]:
        images = self._processor.image_processor
        cell = images.patch_size * images.merge_size
        rows, cols = smart_resize(height, width, cell, images.size["shortest_edge"], images.size["longest_edge"])
        return rows // cell, cols // cell

    def count_tokens(self, text: str) -> int:
        # the backend's encode changes no state, so any thread may count while another one tokenises
        return len(self._processor.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)

    @torch.inference_mode()
    def complete(self, prompt: Prompt, on_token: OnToken | None = None, stop: Stop | None = None) -> Completion:
        start = time.monotonic()
        inputs = self.inputs(prompt)
        with self._steering(prompt, inputs["input_ids"][0]):
            return self._decode(inputs, start, on_token, stop)

    def inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        """The model's own inputs for a prompt, on its device."""
        images = [prompt.image]
        if prompt.focus is not None and prompt.focus.crop is not None:
            x0, y0, x1, y1 = prompt.focus.crop
            images.append(prompt.image[y0:y1, x0:x1])
        messages: list[dict[str, Any]] = []
        if self._settings.system_prompt:
            messages.append({"role": "system", "content": self._settings.system_prompt})
        for turn in prompt.history:
            messages.append({"role": "user", "content": self._plain(turn.question.text)})
            messages.append({"role": "assistant", "content": self._plain(turn.text)})
        views: list[dict[str, Any]] = [{"type": "image"} for _ in images]
        messages.append(
            {"role": "user", "content": [*views, {"type": "text", "text": self._plain(prompt.question.text)}]}
        )
        text = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        inputs = self._processor(text=[text], images=images, return_tensors="pt")
        return {name: value.to(self._device) for name, value in inputs.items()}

    def _plain(self, text: str) -> str:
        """The text without the tokenizer's control tokens: words from outside can never open or close a turn."""
        for token in self._markup:
            text = text.replace(token, " ")
        return text

    def _steering(self, prompt: Prompt, ids: Tensor) -> Any:
        """The attention bias that the prompt asks for; nothing at all where it would change nothing."""
        if prompt.focus is None or prompt.beta == 0.0 or not prompt.focus.grid.any():
            return nullcontext()
        visual = torch.nonzero(ids == self._image_token).flatten()
        focus = torch.from_numpy(prompt.focus.grid).flatten().to(self._device)
        bias = torch.zeros(len(ids), device=self._device)
        bias[visual[: len(focus)]] = prompt.beta * focus
        return attention_bias(self._attentions, bias, first_query=int(visual[-1]) + 1)

    def _decode(
        self, inputs: dict[str, Tensor], start: float, on_token: OnToken | None, stop: Stop | None
    ) -> Completion:
        output = self._model(**inputs, use_cache=True, logits_to_keep=1)
        tokenizer = self._processor.tokenizer
        tokens: list[int] = []
        log_probability, scored, told = 0.0, 0, ""
        first_token_time = time.monotonic() - start
        while True:
            scores = torch.log_softmax(output.logits[0, -1].float(), -1)
            token = int(scores.argmax())
            log_probability += float(scores[token])
            scored += 1
            if token in self._ends:
                break
            tokens.append(token)
            if on_token is not None:
                text = tokenizer.decode(tokens, skip_special_tokens=True)
                if not text.endswith("\ufffd"):  # half a character: wait for its other bytes
                    on_token(text[len(told) :])
                    told = text
            if len(tokens) >= self._settings.max_new_tokens or (stop is not None and stop()):
                break
            step = torch.tensor([[token]], device=self._device)
            output = self._model(input_ids=step, past_key_values=output.past_key_values, use_cache=True)
        text = tokenizer.decode(tokens, skip_special_tokens=True).strip()
        return Completion(text, float(torch.tensor(log_probability / scored).exp()), first_token_time)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EngineError(f"unknown device {name!r}: take auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EngineError(f"device {name!r} was asked for, but torch sees no CUDA device here: take auto or cpu")
    return device


def _quantization(name: str, device: torch.device) -> BitsAndBytesConfig | None:
    if name == "none":
        return None
    if name == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32 if device.type == "cpu" else torch.bfloat16,
            llm_int8_skip_modules=_NOT_QUANTIZED,
        )
    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=_NOT_QUANTIZED)
    raise EngineError(f"unknown quantization {name!r}: take one of {', '.join(QUANTIZATIONS)}")


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return frozenset(int(token) for token in (*ends, tokenizer.eos_token_id) if token is not None)

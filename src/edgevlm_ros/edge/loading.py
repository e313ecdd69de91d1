# SPDX-License-Identifier: Apache-2.0
"""Loads an SVLM as it is asked for: family, device, quantisation."""

import ctypes
import gc
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.architectures.registry import architecture_of, known
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.transformers_engine import TransformersEngine

QUANTIZATIONS = ("none", "nf4", "int8")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How to load and run a model.

    model: a folder or a hub id. device: auto, cpu, cuda, cuda:1, ... quantization: see QUANTIZATIONS. threads: CPU
    threads of torch, 0 for its own choice. system_prompt: told before the history, if not empty. focus_layers: indices
    of the decoder layers that attention focus steers; empty for all. reuse: see TransformersEngine. image_splitting:
    whether families that can cut a view into many tiles do, at many times the cost.
    """

    model: str
    device: str = "auto"
    quantization: str = "none"
    threads: int = 0
    system_prompt: str = ""
    max_new_tokens: int = 32
    focus_layers: tuple[int, ...] = ()
    reuse: bool = True
    image_splitting: bool = False


def load_engine(settings: EngineSettings) -> TransformersEngine:
    """Raises EngineError if the model cannot be loaded as asked."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = _device(settings.device)
    try:
        architecture = _architecture(settings, device)
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"cannot load the edge model {settings.model}: {error}") from error
    name = Path(settings.model).name or settings.model
    return TransformersEngine(
        architecture, name, settings.system_prompt, settings.max_new_tokens, settings.focus_layers, settings.reuse
    )


def give_back_memory() -> None:
    """Gives back to the system what an engine that nobody holds any more leaves in the allocators' pockets."""
    gc.collect()  # an engine holds caches that hold it
    if torch.cuda.is_initialized():
        with suppress(AttributeError):  # cuBLAS keeps some MB of torch's for each thread
            torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


def _architecture(settings: EngineSettings, device: torch.device) -> Architecture:
    config = AutoConfig.from_pretrained(settings.model)
    family = architecture_of(config.model_type)
    if family is None:
        raise EngineError(
            f"{settings.model} is a {config.model_type!r} model; the edge engine runs {known()}. "
            "Serve it with an OpenAI-compatible server and set server_url instead"
        )
    model = AutoModelForImageTextToText.from_pretrained(
        settings.model,
        dtype=torch.float32 if device.type == "cpu" else torch.bfloat16,
        device_map={"": device},
        use_safetensors=True,
        quantization_config=_quantization(settings.quantization, device, family),
    ).eval()
    processor = family.load_processor(settings.model)
    if hasattr(processor.image_processor, "do_image_splitting"):
        processor.image_processor.do_image_splitting = settings.image_splitting
    return family(model, processor)


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


def _quantization(name: str, device: torch.device, family: type[Architecture]) -> BitsAndBytesConfig | None:
    """Weights of the text decoder; eyes and head stay in full precision."""
    if name == "none":
        return None
    spared = list(family.full_precision)
    if name == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32 if device.type == "cpu" else torch.bfloat16,
            llm_int8_skip_modules=spared,
        )
    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=spared)
    raise EngineError(f"unknown quantization {name!r}: take one of {', '.join(QUANTIZATIONS)}")

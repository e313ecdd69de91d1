# SPDX-License-Identifier: Apache-2.0
"""Loads an SVLM as it is asked for: family, revision, device, quantisation.

What cannot fit into the machine's memory is refused before anything is loaded.
"""

import ctypes
import gc
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.architectures.registry import ARCHITECTURES, architecture_of, known
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.hub import why
from edgevlm_ros.edge.memory_budget import LOADING_ADVICE, ran_out_of_memory
from edgevlm_ros.edge.memory_need import QUANTIZATIONS
from edgevlm_ros.edge.model_folder import check_folder
from edgevlm_ros.edge.model_shape import shape_of
from edgevlm_ros.edge.quantization import saved_quantization, settled
from edgevlm_ros.edge.room import check_room, chosen_quantization, room_of
from edgevlm_ros.edge.static_decoding import COMPILERS, room_for
from edgevlm_ros.edge.transformers_engine import STATIC_ROOM, TransformersEngine
from edgevlm_ros.edge.weights import load_weights
from edgevlm_ros.words import in_one_line

QUANTIZATION_CHOICES = ("auto", *QUANTIZATIONS)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How to load and run a model.

    model: a folder or a hub id. revision: of a hub id, a branch, tag or commit. device: auto, cpu, cuda, cuda:1, ...
    quantization: see QUANTIZATION_CHOICES; auto for none where the memory suffices, else nf4; weights that are saved
    quantised stay as they are. threads: CPU threads of torch, 0 for its own choice. system_prompt: told before the
    history, if not empty. focus_layers: indices of the decoder layers that attention focus steers; empty for all.
    reuse, decoding, choice_temperature: see TransformersEngine. image_splitting: whether families that can cut a view
    into many tiles do, at many times the cost.
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
    decoding: str = "growing"
    revision: str = "main"
    choice_temperature: float = 1.0


def load_engine(settings: EngineSettings) -> TransformersEngine:
    """Raises EngineError if the model cannot be loaded as asked."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = device_named(settings.device)
    try:
        architecture = _architecture(settings, device)
    except EngineError:
        raise
    except Exception as error:
        if ran_out_of_memory(error):
            reason = f"out of memory while loading ({in_one_line(error)}): {LOADING_ADVICE}"
        else:
            reason = why(error, settings.model, settings.revision)
        raise EngineError(f"cannot load the edge model {settings.model}: {reason}") from error
    name = Path(settings.model).name or settings.model
    return TransformersEngine(
        architecture,
        name,
        settings.system_prompt,
        settings.max_new_tokens,
        settings.focus_layers,
        settings.reuse,
        decoding=settings.decoding,
        choice_temperature=settings.choice_temperature,
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
    if (folder := Path(settings.model)).is_dir():
        check_folder(folder, [name for each in ARCHITECTURES for name in each.model_types])
    config = AutoConfig.from_pretrained(settings.model, revision=settings.revision, trust_remote_code=False)
    family = architecture_of(config.model_type)
    if family is None:
        raise EngineError(
            f"{settings.model} is a {config.model_type!r} model; the edge engine runs {known()}. "
            "Serve it with an OpenAI-compatible server and set server_url instead"
        )
    quantization = _fitting(settings, config, device)
    model = load_weights(settings.model, config, family, device, quantization, settings.revision)
    processor = family.load_processor(settings.model, settings.revision)
    if hasattr(processor.image_processor, "do_image_splitting"):
        processor.image_processor.do_image_splitting = settings.image_splitting
    return family(model, processor)


def device_named(name: str) -> torch.device:
    """Raises EngineError for a device that does not exist or is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EngineError(f"unknown device {name!r}: take auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EngineError(f"device {name!r} was asked for, but torch sees no CUDA device here: take auto or cpu")
    return device


def _fitting(settings: EngineSettings, config: Any, device: torch.device) -> str:
    """How the model is quantised, once it is known to fit. Raises EngineError."""
    if settings.quantization not in QUANTIZATION_CHOICES:
        names = ", ".join(QUANTIZATION_CHOICES)
        raise EngineError(f"unknown quantization {settings.quantization!r}: take one of {names}")
    saved, shape, room = saved_quantization(config), shape_of(config), room_of(device)
    static = 0 if settings.decoding not in COMPILERS else room_for(STATIC_ROOM + settings.max_new_tokens)
    if settings.quantization != "auto":
        quantization = settled(settings.quantization, saved)
    else:
        quantization = saved if saved != "none" else chosen_quantization(settings.model, shape, room, static)
    if warning := check_room(settings.model, shape, quantization, room, static):
        _log.warning("%s", warning)
    return quantization

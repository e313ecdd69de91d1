# SPDX-License-Identifier: Apache-2.0
"""A model saved with its weights already quantised, so that a robot neither carries the full ones nor requantises.

What is beside the weights (tokenizer, chat template, image processor, calibrated preset) is copied as it is.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from transformers import AutoConfig

from edgevlm_ros.edge.architectures.registry import architecture_of, known
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.hub import why
from edgevlm_ros.edge.quantization import saved_quantization
from edgevlm_ros.edge.weights import load_weights

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.pt", "*.pth", "*.gguf", "*.onnx*")
_BESIDE = (".json", ".jinja", ".txt", ".model")
_OURS = ("config.json", "generation_config.json")  # written with the weights


def quantize(model: str, quantization: str, to: Path, device: str = "cpu", revision: str = "main") -> Path:
    """Saves a folder or a hub id quantised into the folder `to`, and returns it. quantization: nf4 or int8.

    What stays in full precision keeps the numbers that it was saved in. Raises EngineError.
    """
    if to.is_dir() and any(to.iterdir()):
        raise EngineError(f"{to} is not empty: give a new folder")
    try:
        source = Path(model)
        if not source.is_dir():
            source = Path(snapshot_download(model, revision=revision, ignore_patterns=list(_WEIGHTS)))
        config = AutoConfig.from_pretrained(model, revision=revision)
        family = architecture_of(config.model_type)
        if family is None:
            raise EngineError(f"{model} is a {config.model_type!r} model; the edge engine runs {known()}")
        if (saved := saved_quantization(config)) != "none":
            raise EngineError(f"{model} is saved as {saved} already")
        dtype = getattr(config, "dtype", None) or torch.bfloat16
        weights = load_weights(model, config, family, torch.device(device), quantization, revision, dtype)
        to.mkdir(parents=True, exist_ok=True)
        weights.save_pretrained(to)
        for file in sorted(source.iterdir()):
            if file.suffix in _BESIDE and file.name not in _OURS and not file.name.endswith(".index.json"):
                shutil.copyfile(file, to / file.name)
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"cannot quantise {model}: {why(error, model, revision)}") from error
    return to


def size_of(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())

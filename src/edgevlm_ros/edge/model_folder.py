# SPDX-License-Identifier: Apache-2.0
"""Whether a model's folder is whole and harmless, looked at before anything of it is loaded.

A copy that was cut off, a disk that was full and a download that lacks a shard are what breaks a robot's model most
often, and a pickle runs whatever code it holds. The libraries find out one file at a time, in words of their own.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from edgevlm_ros.edge.engine import EngineError

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_INDEX, _WEIGHTS = "model.safetensors.index.json", "model.safetensors"
_WHOLE = "Copy or fetch the whole folder again"


def check_folder(folder: Path, families: Collection[str]) -> None:
    """Raises EngineError, which names the file and what to do. families: values of model_type that can be run."""
    if not any(folder.iterdir()):
        raise EngineError(f"the model folder {folder} is empty. {_WHOLE}")
    if _checked_config(folder, families)["model_type"] not in families:
        return  # whoever loads it says what can be run instead
    for path in sorted(folder.glob("*.json")):
        _json(path)
    for path in weight_files(folder):
        try:
            with safe_open(path, "pt"):  # reads the header and compares it with the file's size
                pass
        except (SafetensorError, OSError) as error:
            size = path.stat().st_size
            raise EngineError(f"{path} is cut off or damaged ({size} bytes, {error}). {_WHOLE}") from None


def _checked_config(folder: Path, families: Collection[str]) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise EngineError(f"{folder} has no config.json: it is no model folder in Hugging Face layout, or not whole")
    config = _json(path)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise EngineError(f"{path} names no model_type: it is not the configuration of a model. {_WHOLE}")
    if "auto_map" in config and config["model_type"] not in families:
        raise EngineError(
            f"{path} brings code of its own (auto_map, model_type {config['model_type']!r}), which is never run. "
            f"Take a model of a family that is built in ({', '.join(sorted(families))}), or serve it and set server_url"
        )
    return config


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise EngineError(f"{path} is cut off or damaged ({error}). {_WHOLE}") from None


def weight_files(folder: Path) -> list[Path]:
    """The files of the weights, in the order in which transformers would look for them."""
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    index = folder / _INDEX
    if index.is_file():
        placed = _json(index)
        shards = placed.get("weight_map") if isinstance(placed, dict) else None
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise EngineError(f"{index} places no weights. {_WHOLE}")
        names = sorted(set(shards.values()))
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise EngineError(f"{folder} lacks {', '.join(missing)} of {len(names)} files of weights. {_WHOLE}")
        return [folder / name for name in names]
    if pickles := sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES):
        raise EngineError(
            f"{folder} has its weights only as {', '.join(pickles[:3])}: a pickle can run any code when it is loaded, "
            "so only safetensors are taken. Fetch the revision with model.safetensors, or convert it on a machine that "
            "you can lose"
        )
    raise EngineError(f"{folder} has no weights (no {_WEIGHTS}, no {_INDEX}). {_WHOLE}")

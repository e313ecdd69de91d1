# SPDX-License-Identifier: Apache-2.0
"""Will the edge model load: is it here, whole, of a family that runs, and small enough?"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from edgevlm_ros.assets import AssetError, model_path
from edgevlm_ros.doctor.finding import Finding, fail, ok, warn
from edgevlm_ros.doctor.hardware import GIB, Gpu, hub_cache
from edgevlm_ros.doctor.trial import attempt
from edgevlm_ros.doctor.weights import Weights, WeightsError, read_weights
from edgevlm_ros.edge.memory_need import Place, Shape, best_quantization, memory_need
from edgevlm_ros.machine import available_memory

BYTES_EACH = {"none": 2.0, "int8": 1.2, "nf4": 0.75, "auto": 0.75}
"""Bytes a parameter takes on a GPU, where its model cannot be counted. Eyes and head stay bfloat16, so that the
quantised ones lie above 1 and 0.5."""
_ON_CPU = 2.0  # float32 instead of bfloat16: twice as much
_WORKING_SHARE = 1.25  # activations and KV cache come on top of the weights
_ASKED = """
from dataclasses import asdict
from edgevlm_ros.edge.architectures.registry import ARCHITECTURES
families = sorted(name for family in ARCHITECTURES for name in family.model_types)
try:
    from edgevlm_ros.edge.model_shape import shape_of_model
    shape = asdict(shape_of_model({folder!r}))
except Exception:
    shape = None
say([families, shape])
"""


def check(name: str, device: str, quantization: str, gpu: Gpu | None) -> Iterator[Finding]:
    """name: as the edge node's parameter `model`. device, quantization: as its parameters of these names."""
    try:
        path = model_path(name)
    except AssetError as error:
        yield fail("model", str(error), "give --model what the edge node's parameter `model` shall be")
        return
    folder = Path(path)
    if not folder.is_dir():
        snapshot = downloaded(path)
        if snapshot is None:
            yield not_downloaded(path, bool(os.environ.get("HF_HUB_OFFLINE")))
            return
        folder = snapshot
    yield ok("model", f"{name}: {folder}")
    trial = attempt(_ASKED.format(folder=str(folder)))
    families, shape = (None, None) if trial.error else trial.value
    yield family(folder, families)
    yield processor(folder)
    try:
        weights = read_weights(folder)
    except (OSError, WeightsError) as error:
        yield fail("weights", str(error), f"download them again, e.g. hf download {name} --force-download")
        return
    yield whole(weights)
    if weights.files:
        asked = saved_as(folder) or quantization
        counted = Shape(**shape) if shape else None
        yield fits(weights.elements, device, asked, gpu, available_memory(), counted)


def downloaded(hub_id: str) -> Path | None:
    """Folder of a hub model's newest snapshot in the cache; None if there is none."""
    snapshots = hub_cache() / f"models--{hub_id.replace('/', '--')}" / "snapshots"
    whole_ones = [path.parent for path in snapshots.glob("*/config.json")]
    return max(whole_ones, key=lambda path: path.stat().st_mtime, default=None)


def not_downloaded(hub_id: str, offline: bool) -> Finding:
    fix = f"on a network: hf download {hub_id}"
    if offline:
        return fail("model", f"{hub_id} is not in the hub cache, and HF_HUB_OFFLINE is set", fix)
    return warn("model", f"{hub_id} is not here yet: the node downloads it when it is configured", f"{fix}, before")


def family(folder: Path, known: Collection[str] | None) -> Finding:
    """known: values of `model_type` that the edge engine runs; None if that cannot be told."""
    try:
        kind = str(json.loads((folder / "config.json").read_text())["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        return fail("family", "config.json cannot be read or names no model_type", "download it again")
    if known is None:
        return warn(
            "family", f"{kind}; whether it runs cannot be told without torch and transformers", "see them above"
        )
    if kind not in known:
        served = "serve it with an OpenAI-compatible server and set server_url"
        return fail("family", f"{kind}; the edge engine runs {', '.join(sorted(known))}", served)
    return ok("family", kind)


def processor(folder: Path) -> Finding:
    """Whether the tokenizer and the image processor are beside the weights."""
    parts = {
        "tokenizer": ("tokenizer.json", "tokenizer.model", "vocab.json"),
        "image processor": ("preprocessor_config.json", "processor_config.json"),
    }
    missing = [part for part, names in parts.items() if not any((folder / name).is_file() for name in names)]
    if missing:
        fix = "take the whole repository of the model, not the weights alone"
        return fail("processor", f"no {' and no '.join(missing)} in {folder}", fix)
    return ok("processor", "tokenizer and image processor are there")


def whole(weights: Weights) -> Finding:
    fix = "convert them to safetensors, which can hold no code; nothing else is loaded here"
    if not weights.files:
        if weights.pickles:
            return fail("weights", f"only pickles: {', '.join(weights.pickles[:3])}", fix)
        return fail("weights", "no .safetensors file", "download the model whole")
    files = f"{len(weights.files)} safetensors file{'s' if len(weights.files) > 1 else ''}"
    words = f"{weights.elements / 1e6:.1f}M parameters, {weights.size / 1e6:.0f} MB in {files}"
    if weights.pickles:
        return warn(
            "weights", f"{words}; {weights.pickles[0]} is a pickle beside them", "delete it: it is never loaded"
        )
    return ok("weights", words)


def saved_as(folder: Path) -> str:
    """How the weights of a folder are quantised, "" if they are not, or not by us."""
    try:
        saved = json.loads((folder / "config.json").read_text()).get("quantization_config") or {}
    except (OSError, ValueError, AttributeError):
        return ""
    return "int8" if saved.get("load_in_8bit") else "nf4" if saved.get("load_in_4bit") else ""


def fits(
    elements: int, device: str, quantization: str, gpu: Gpu | None, free: int, shape: Shape | None = None
) -> Finding:
    """free: bytes of main memory that a new process may take; a GPU's are its own. shape: of the model, if its code
    could be asked; else its memory is guessed by its elements."""
    on_gpu = device.startswith("cuda") or (device == "auto" and gpu is not None and gpu.available)
    if on_gpu and not (gpu and gpu.available):
        return fail("fits", f"device {device} was asked for, and torch sees no GPU", "see GPU above; or --device cpu")
    room = gpu.free if on_gpu and gpu else free
    where = "on the GPU" if on_gpu else "in memory"
    fix = "a smaller model (edgevlm models), a stronger --quantization (int8, nf4), or close what else is running"
    if shape is not None:
        place: Place = "cpu" if not on_gpu else "jetson" if gpu and gpu.integrated else "gpu"
        if quantization == "auto":
            quantization = best_quantization(shape, place, room) or "nf4"
        need = memory_need(shape, quantization, place).total
        words = f"{need / GIB:.1f} GiB are needed in all, {room / GIB:.1f} GiB are free {where}"
        return fail("fits", words, fix) if need > room else ok("fits", words)
    each = BYTES_EACH[quantization] * (1.0 if on_gpu else _ON_CPU)
    words = f"weights take {elements * each / GIB:.1f} GiB, {room / GIB:.1f} GiB are free {where}"
    if elements * each > room:
        return fail("fits", words, fix)
    if elements * each * _WORKING_SHARE > room:
        return warn("fits", f"{words}: little is left to work with", fix)
    return ok("fits", words)

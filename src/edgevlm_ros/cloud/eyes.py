# SPDX-License-Identifier: Apache-2.0
"""A large model's eyes on the robot: its vision encoder and projector, without the language model.

The language model's weights are the bulk of it and are never read: its layers are left out of the configuration, so
that transformers has no place to put them. A keyframe is seen in a thread of its own at the lowest priority, as nothing
here is worth delaying an answer of the small model.
"""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForImageTextToText

from edgevlm_ros.assets import model_path
from edgevlm_ros.cloud.diversity import diverse
from edgevlm_ros.cloud.features import EYES_BYTES, Features, FeaturesError, Layer, quantised
from edgevlm_ros.edge.architectures.architecture import Architecture, Sight
from edgevlm_ros.edge.architectures.registry import ARCHITECTURES, architecture_of, known
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.hub import why
from edgevlm_ros.edge.loading import device_named
from edgevlm_ros.edge.model_folder import check_folder, weight_files
from edgevlm_ros.edge.quantization import compute_dtype
from edgevlm_ros.edge.weights import without_tables
from edgevlm_ros.transfer.types import Image

_LOWEST_PRIORITY = 19


class Eyes:
    """Loaded eyes. model: a bundled model's name, a folder in Hugging Face layout, or a hub id.

    keep: share of the visual tokens that goes up. revision: of a hub id, a branch, tag or commit. Raises AssetError or
    EngineError if the model is not here or cannot be cut.
    """

    def __init__(self, model: str, keep: float = 1.0, device: str = "cpu", revision: str = "main") -> None:
        self._keep = keep
        path = model_path(model)
        try:
            self._family = architecture(path, device_named(device), revision)
            self.identity = identity(path, type(self._family), revision)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"cannot load the eyes of {model}: {why(error, path, revision)}") from error
        self._worker = ThreadPoolExecutor(1, "eyes", _give_way)

    def see(self, image: Image) -> Features:
        """The features of an image (H, W, 3) uint8 RGB. Waits for its turn; from any thread. Raises FeaturesError."""
        return self._worker.submit(self._see, image).result()

    def close(self) -> None:
        """Lets go of the thread, once it has seen what it is looking at."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    @torch.inference_mode()
    def _see(self, image: Image) -> Features:
        sight = self._family.see(self._family.pixels(np.ascontiguousarray(image)))
        return cut(sight, image, self._keep, self.identity)


def cut(sight: Sight, image: Image, keep: float, eyes: bytes) -> Features:
    """What goes up of a sight of an image. Raises FeaturesError."""
    first, *deep = (part.float().cpu().numpy() for part in (sight.features, *sight.deep))
    if not np.isfinite(first).all():
        raise FeaturesError("the eyes computed NaN or infinity: float16 overflows where bfloat16 and float32 do not")
    kept = diverse(first, keep)
    layers: tuple[Layer, ...] = tuple(quantised(part[kept]) for part in (first, *deep))
    height, width = image.shape[:2]
    return Features(layers, kept, len(first), width, height, eyes)


def architecture(path: str, device: torch.device, revision: str = "main") -> Architecture:
    """The family of a model, loaded as far as its eyes need it. path: a folder or a hub id. revision: of a hub id."""
    if (folder := Path(path)).is_dir():
        check_folder(folder, [name for each in ARCHITECTURES for name in each.model_types])
    config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
    family = architecture_of(config.model_type)
    if family is None:
        raise EngineError(
            f"{path} is a {config.model_type!r} model, which cannot be cut behind its eyes: {known()} can. "
            "Set upload to image"
        )
    words = config.text_config
    words.num_hidden_layers, words.vocab_size, words.pad_token_id = 0, 1, None
    if getattr(words, "layer_types", None) is not None:
        words.layer_types = []
    with without_tables():
        model, found = AutoModelForImageTextToText.from_pretrained(
            path,
            revision=revision,
            config=config,
            dtype=compute_dtype(device),
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # the vocabulary has one word
            output_loading_info=True,
        )
    _check_whole(path, family, found)
    processor = family.load_processor(path, revision)
    if hasattr(processor.image_processor, "do_image_splitting"):
        processor.image_processor.do_image_splitting = False
    return family(model.to(device).eval(), processor)


def identity(path: str, family: type[Architecture], revision: str = "main") -> bytes:
    """Whose eyes these are: a digest of their weights as they lie in the files. path, revision: see architecture.

    A language model that was trained further behind the same eyes can read their features, and has the same identity.
    """
    folder = Path(path)
    if not folder.is_dir():
        folder = Path(snapshot_download(path, revision=revision, local_files_only=True))
    names = {name.rpartition(".")[-1] for name in eyes_of(family)}
    digest = hashlib.blake2b(digest_size=EYES_BYTES)
    for file in weight_files(folder):
        with safe_open(file, "pt") as tensors:
            for key in sorted(tensors.keys()):
                if names.intersection(key.split(".")):
                    digest.update(key.encode())
                    digest.update(_raw(tensors.get_tensor(key)))
    return digest.digest()


def eyes_of(family: type[Architecture]) -> tuple[str, ...]:
    """The modules of a family that see: what quantisation spares, less the head."""
    return tuple(name for name in family.full_precision if name != "lm_head")


def _raw(tensor: torch.Tensor) -> memoryview:
    return memoryview(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


def _check_whole(path: str, family: type[Architecture], found: dict[str, Any]) -> None:
    wrong = sorted({*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])})
    if wrong := [name for name in wrong if name.startswith(eyes_of(family))]:
        raise EngineError(
            f"the weights in {path} lack {len(wrong)} of its eyes, {wrong[0]} for one. Take the whole folder of a model"
        )


def _give_way() -> None:
    """This thread alone: what the small model wants of the processor goes before."""
    torch.set_num_threads(1)
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)

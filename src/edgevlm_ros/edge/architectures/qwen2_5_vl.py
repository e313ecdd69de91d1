# SPDX-License-Identifier: Apache-2.0
"""Qwen2.5-VL: any resolution, one token for each cell of merge x merge patches, positions in three dimensions."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from edgevlm_ros.edge.architectures.architecture import Architecture, Pixels, Sight, cells
from edgevlm_ros.transfer.types import Image


class StillQwen2_5_VLProcessor(Qwen2_5_VLProcessor):  # type: ignore[misc]
    """Text and images, no video: the stock processor wants torchvision for its video half.

    transformers reads a processor's parts from the signature of its __init__.
    """

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)


class Qwen25VL(Architecture):
    """Qwen2.5-VL."""

    model_types: ClassVar[tuple[str, ...]] = ("qwen2_5_vl",)
    # plain "visual" matches nothing in transformers 5
    full_precision: ClassVar[tuple[str, ...]] = ("model.visual", "lm_head")
    resolution = True

    @staticmethod
    def load_processor(name: str, revision: str = "main") -> Any:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
        image_processor = AutoImageProcessor.from_pretrained(name, revision=revision, backend="pil")
        return StillQwen2_5_VLProcessor(image_processor, tokenizer, chat_template=tokenizer.chat_template)

    @property
    def _cell(self) -> int:
        images = self.processor.image_processor
        return int(images.patch_size * images.merge_size)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        size = self.processor.image_processor.size
        rows, cols = smart_resize(height, width, self._cell, size["shortest_edge"], size["longest_edge"])
        return rows // self._cell, cols // self._cell

    def pixels(self, image: Image, share: float = 1.0) -> Pixels:
        images = self.processor.image_processor
        limits = {}
        if share < 1.0:
            rows, cols = self.grid(image.shape[1], image.shape[0])
            most = max(1, int(share * rows * cols)) * self._cell**2
            limits = {"size": {"shortest_edge": min(images.size["shortest_edge"], most), "longest_edge": most}}
        inputs = self.shown([image], **limits)
        rows, cols = (int(side) // images.merge_size for side in inputs["image_grid_thw"][0, 1:])
        size = (rows * self._cell, cols * self._cell)
        return Pixels(inputs, self.image_token * (rows * cols), cells(rows, cols), size)

    def positions(self, ids: Tensor, sights: tuple[Sight, ...]) -> Tensor:
        grids = [sight.pixels.inputs["image_grid_thw"] for sight in sights]
        kinds = (ids == self.image_token_id).int()
        positions, _ = self.model.model.get_rope_index(
            ids, mm_token_type_ids=kinds, image_grid_thw=torch.cat(grids) if grids else None
        )
        return torch.as_tensor(positions)

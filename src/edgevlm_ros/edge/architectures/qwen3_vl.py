# SPDX-License-Identifier: Apache-2.0
"""Qwen3-VL: as Qwen2.5-VL, and what the vision tower sees midway enters the first decoder layers too (DeepStack)."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

from edgevlm_ros.edge.architectures.architecture import Pixels, Sight
from edgevlm_ros.edge.architectures.qwen2_5_vl import Qwen25VL


class StillQwen3VLProcessor(Qwen3VLProcessor):  # type: ignore[misc]
    """Text and images, no video: the stock processor wants torchvision for its video half."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)


class Qwen3VL(Qwen25VL):
    """Qwen3-VL."""

    model_types: ClassVar[tuple[str, ...]] = ("qwen3_vl",)

    @staticmethod
    def load_processor(name: str, revision: str = "main") -> Any:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
        image_processor = AutoImageProcessor.from_pretrained(name, revision=revision, backend="pil")
        return StillQwen3VLProcessor(image_processor, tokenizer, chat_template=tokenizer.chat_template)

    def see(self, pixels: Pixels) -> Sight:
        output = self.model.model.get_image_features(**self.moved(pixels), return_dict=True)
        deep = tuple(torch.cat(list(layer)) for layer in output.deepstack_features)
        return Sight(torch.cat(list(output.pooler_output)), deep, pixels)

    def decoder_inputs(self, deep: tuple[Tensor, ...], visual: Tensor) -> dict[str, Any]:
        return {"visual_pos_masks": visual, "deepstack_visual_embeds": list(deep)} if deep else {}

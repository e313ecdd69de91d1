# SPDX-License-Identifier: Apache-2.0
"""The Qwen2.5-VL processor for still images, with or without torchvision.

The stock processor wants torchvision only for its video half. transformers reads a processor's parts from the
signature of its __init__, so one without `video_processor` loads anywhere.
"""

from typing import Any

from transformers import AutoImageProcessor, AutoTokenizer
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor


class StillQwen2_5_VLProcessor(Qwen2_5_VLProcessor):  # type: ignore[misc]
    """Text and images, no video."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)


def load_processor(model: str) -> StillQwen2_5_VLProcessor:
    """The processor of a Qwen2.5-VL folder or hub id. Images are (H, W, 3) uint8 RGB arrays."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    image_processor = AutoImageProcessor.from_pretrained(model, backend="pil")
    return StillQwen2_5_VLProcessor(image_processor, tokenizer, chat_template=tokenizer.chat_template)

# SPDX-License-Identifier: Apache-2.0
"""LLaVA-OneVision: each view whole, on a square ground, through SigLIP's eyes, and positions as in a text.

The stock processor cuts a single image into up to 36 tiles besides, and shows several images as it is done here: whole,
one tile each. A robot's frame and its second view are shown like those, 730 tokens each instead of thousands.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoImageProcessor
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

from edgevlm_ros.edge.architectures.architecture import Architecture, Pixels, cells
from edgevlm_ros.transfer.types import Image

_DOT = np.zeros((1, 1, 3), np.uint8)


class StillLlavaOnevisionProcessor(LlavaOnevisionProcessor):  # type: ignore[misc]
    """Text and images, no video: the stock processor wants torchvision for its video half."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        num_image_tokens: int | None = None,
        vision_feature_select_strategy: str | None = None,
        image_token: str = "<image>",
        **other: Any,
    ) -> None:
        super().__init__(
            image_processor,
            tokenizer,
            None,
            num_image_tokens=num_image_tokens,
            vision_feature_select_strategy=vision_feature_select_strategy,
            chat_template=chat_template,
            image_token=image_token,
            **other,
        )


class LlavaOnevision(Architecture):
    """LLaVA-OneVision, one tile for each view."""

    model_types: ClassVar[tuple[str, ...]] = ("llava_onevision",)
    full_precision: ClassVar[tuple[str, ...]] = ("model.vision_tower", "model.multi_modal_projector", "lm_head")

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        eyes = model.config.vision_config
        self._side = int(eyes.image_size // eyes.patch_size)

    @staticmethod
    def load_processor(name: str, revision: str = "main") -> Any:
        processor = StillLlavaOnevisionProcessor.from_pretrained(name, revision=revision)
        processor.image_processor = AutoImageProcessor.from_pretrained(name, revision=revision, backend="pil")
        return processor

    def grid(self, width: int, height: int) -> tuple[int, int]:
        square = max(width, height)
        return max(1, round(self._side * height / square)), max(1, round(self._side * width / square))

    def pixels(self, image: Image, share: float = 1.0) -> Pixels:
        # a second image beside it, and the processor shows both whole
        shown = self.shown([[image, _DOT]])
        inputs = {
            "pixel_values": shown["pixel_values"][0],
            "image_sizes": shown["image_sizes"][:1],
            "batch_num_images": torch.tensor([2]),
        }
        boxes = self._boxes(image.shape[1], image.shape[0])
        height, width = (int(side) for side in inputs["pixel_values"].shape[-2:])
        return Pixels(inputs, self.image_token * len(boxes), boxes, (height, width))

    def _boxes(self, width: int, height: int) -> NDArray[np.float32]:
        """Of the patches in reading order, and of the end of the line, which sees nothing."""
        square, sides = max(width, height), np.array([width, height] * 2, np.float32)
        ground = np.array([(square - width) // 2, (square - height) // 2] * 2, np.float32)
        patches = np.clip((cells(self._side, self._side) * square - ground) / sides, 0.0, 1.0)
        if self.model.config.vision_feature_select_strategy == "default":
            patches = patches[1:]
        return np.concatenate([patches, np.zeros((1, 4), np.float32)])

# SPDX-License-Identifier: Apache-2.0
"""LLaVA: one square view of a fixed size through CLIP's or SigLIP's eyes, and positions as in a text.

The processor chooses what it shows of an image: all of it, squeezed, or its middle, or all of it on a square ground.
"""

from typing import Any, ClassVar

import numpy as np
from transformers import AutoImageProcessor, LlavaProcessor

from edgevlm_ros.edge.architectures.architecture import Architecture, Pixels, cells
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.transfer.types import Image

_EYES = ("clip_vision_model", "siglip_vision_model")


class Llava(Architecture):
    """LLaVA with CLIP or SigLIP."""

    model_types: ClassVar[tuple[str, ...]] = ("llava",)
    full_precision: ClassVar[tuple[str, ...]] = ("model.vision_tower", "model.multi_modal_projector", "lm_head")

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        eyes = model.config.vision_config.model_type
        if eyes not in _EYES:
            raise EngineError(f"a LLaVA model with a {eyes!r} vision tower; the edge engine runs {' and '.join(_EYES)}")
        self._patch = int(model.config.vision_config.patch_size)
        self._class_tokens = int(processor.num_additional_image_tokens)

    @staticmethod
    def load_processor(name: str, revision: str = "main") -> Any:
        processor = LlavaProcessor.from_pretrained(name, revision=revision)
        processor.image_processor = AutoImageProcessor.from_pretrained(name, revision=revision, backend="pil")
        return processor

    def grid(self, width: int, height: int) -> tuple[int, int]:
        # as fine as the visual tokens, also over what a processor that takes the middle leaves out
        (rows, cols), (x0, y0, x1, y1) = self._sight(width, height)
        return max(1, round(rows / (y1 - y0))), max(1, round(cols / (x1 - x0)))

    def pixels(self, image: Image, share: float = 1.0) -> Pixels:
        inputs = self.shown([image])
        (rows, cols), (x0, y0, x1, y1) = self._sight(image.shape[1], image.shape[0])
        seen = np.array([x0, y0, x1, y1], np.float32)
        patches = seen[[0, 1, 0, 1]] + cells(rows, cols) * np.array([x1 - x0, y1 - y0] * 2, np.float32)
        boxes = np.clip(np.concatenate([np.tile(seen, (self._class_tokens, 1)), patches]), 0.0, 1.0)
        if self.model.config.vision_feature_select_strategy == "default":
            boxes = boxes[1:]
        height, width = (int(side) for side in inputs["pixel_values"].shape[-2:])
        return Pixels(inputs, self.image_token * len(boxes), boxes, (height, width))

    def _sight(self, width: int, height: int) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
        """Rows and columns of patches, and the part of an image that they see: beyond 0..1 where it was padded."""
        images = self.processor.image_processor
        square = max(width, height) if getattr(images, "do_pad", False) else 0
        padded = (square or height, square or width)
        resized = _resized(padded, images.size) if images.do_resize else padded
        crop = getattr(images, "crop_size", None) if getattr(images, "do_center_crop", False) else None
        shown = (int(crop["height"]), int(crop["width"])) if crop else resized
        counts = (shown[0] // self._patch, shown[1] // self._patch)
        spans = []
        for axis, side in enumerate((height, width)):
            first = (resized[axis] - shown[axis]) // 2
            ground = (padded[axis] - side) // 2
            edges = (first, first + counts[axis] * self._patch)
            spans.append([(edge / resized[axis] * padded[axis] - ground) / side for edge in edges])
        (y0, y1), (x0, x1) = spans
        return counts, (x0, y0, x1, y1)


def _resized(shape: tuple[int, int], size: Any) -> tuple[int, int]:
    if not size.shortest_edge:
        return int(size.height), int(size.width)
    short, long = min(shape), max(shape)
    longer = int(size.shortest_edge * long / short)
    return (longer, size.shortest_edge) if shape[0] > shape[1] else (size.shortest_edge, longer)

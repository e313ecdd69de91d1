# SPDX-License-Identifier: Apache-2.0
"""Idefics3 and SmolVLM: square tiles of a fixed size, the last one the whole view, and positions as in a text.

Without image splitting the whole view is the only tile. With it the view is first cut into a mosaic, whose size the
processor chooses.
"""

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from transformers import AutoImageProcessor, Idefics3Processor
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from edgevlm_ros.edge.architectures.architecture import Architecture, Pixels, cells
from edgevlm_ros.transfer.types import Image


class Idefics3(Architecture):
    """Idefics3, SmolVLM (the same, under either name) and SmolVLM2."""

    model_types: ClassVar[tuple[str, ...]] = ("idefics3", "smolvlm")
    full_precision: ClassVar[tuple[str, ...]] = ("model.vision_model", "model.connector", "lm_head")

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        images = processor.image_processor
        # a single tile straight from the image: by way of 2048 pixels it takes 180 ms instead of 18 and shows no more
        # (640 x 480 on one core, 2026-11)
        images.do_resize = images.do_resize and images.do_image_splitting
        self._tile = int(images.max_image_size["longest_edge"])
        vision = model.config.vision_config
        self._side = int(vision.image_size // vision.patch_size // model.config.scale_factor)
        self._edge = int(images.size["longest_edge"])
        self._mosaic = lru_cache(maxsize=64)(self._find_mosaic)
        # a mosaic can be made of fewer tiles; a single tile is as small as it gets
        self.resolution = bool(images.do_image_splitting) and self._edge > self._tile

    @staticmethod
    def load_processor(name: str, revision: str = "main") -> Any:
        # Idefics3's makes the same prompt as SmolVLM's own, which wants torchvision and num2words for its video half
        processor = Idefics3Processor.from_pretrained(name, revision=revision)
        processor.image_processor = AutoImageProcessor.from_pretrained(name, revision=revision, backend="pil")
        return processor

    @property
    def decoder(self) -> Any:
        return self.model.model.text_model

    def grid(self, width: int, height: int) -> tuple[int, int]:
        rows, cols = self._mosaic(width, height, self._edge)
        return max(rows, 1) * self._side, max(cols, 1) * self._side

    def pixels(self, image: Image, share: float = 1.0) -> Pixels:
        inputs, rows, cols = self._prepared(image, self._longest_edge(image, share))
        processor = self.processor
        placeholder = get_image_prompt_string(
            rows,
            cols,
            self._side**2,
            processor.fake_image_token,
            image_token=self.image_token,
            global_image_token=processor.global_image_tag,
        )
        size = (max(rows, 1) * self._tile, max(cols, 1) * self._tile)
        return Pixels(inputs, placeholder, self._boxes(rows, cols), size)

    def _boxes(self, rows: int, cols: int) -> Any:
        """Tile by tile in reading order, then the whole view."""
        whole = cells(self._side, self._side)
        shrunk = whole / np.array([cols or 1, rows or 1] * 2, np.float32)
        corners = cells(rows, cols)[:, [0, 1, 0, 1]] if rows and cols else np.zeros((0, 4), np.float32)
        tiles = [shrunk + corner for corner in corners]
        return np.concatenate([*tiles, whole])

    def _longest_edge(self, image: Image, share: float) -> int:
        """The processor's own, or the longest of whole tiles that takes at most this share of its tiles."""
        height, width = image.shape[:2]
        if share >= 1.0 or not self.resolution:
            return self._edge
        most = share * _tiles(*self._mosaic(width, height, self._edge))
        edges = range(self._edge // self._tile * self._tile, self._tile, -self._tile)
        return next((edge for edge in edges if _tiles(*self._mosaic(width, height, edge)) <= most), self._tile)

    def _find_mosaic(self, width: int, height: int, edge: int) -> tuple[int, int]:
        """Rows and columns of tiles of an image of this size, or 0, 0: asked of the processor, never recomputed."""
        return self._prepared(np.zeros((height, width, 3), np.uint8), edge)[1:]

    def _prepared(self, image: Image, edge: int) -> tuple[dict[str, Any], int, int]:
        inputs = self.shown([[image]], size={"longest_edge": edge}, return_row_col_info=True)
        rows, cols = inputs.pop("rows")[0][0], inputs.pop("cols")[0][0]
        return inputs, int(rows), int(cols)


def _tiles(rows: int, cols: int) -> int:
    return rows * cols + 1

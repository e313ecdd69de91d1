# SPDX-License-Identifier: Apache-2.0
"""Another architecture, as it is: a beginning for those that see in another way."""

from typing import Any

from torch import Tensor

from edgevlm_ros.edge.architectures.architecture import Architecture, Pixels, Sight
from edgevlm_ros.transfer.types import Image


class Wrapped(Architecture):
    """The inner one; a subclass changes how it sees."""

    def __init__(self, inner: Architecture) -> None:
        super().__init__(inner.model, inner.processor)
        self.inner = inner
        self.resolution = inner.resolution

    @property
    def decoder(self) -> Any:
        return self.inner.decoder

    @property
    def image_token(self) -> str:
        return self.inner.image_token

    @property
    def image_token_id(self) -> int:
        return self.inner.image_token_id

    def grid(self, width: int, height: int) -> tuple[int, int]:
        return self.inner.grid(width, height)

    def pixels(self, image: Image, share: float = 1.0) -> Pixels:
        return self.inner.pixels(image, share)

    def see(self, pixels: Pixels) -> Sight:
        return self.inner.see(pixels)

    def positions(self, ids: Tensor, sights: tuple[Sight, ...]) -> Tensor:
        return self.inner.positions(ids, sights)

    def decoder_inputs(self, deep: tuple[Tensor, ...], visual: Tensor) -> dict[str, Any]:
        return self.inner.decoder_inputs(deep, visual)

# SPDX-License-Identifier: Apache-2.0
"""What the engine needs to know about a family of vision-language models in transformers.

The engine does the rest for all of them: prompt, prefix reuse, steering, pruning and greedy decoding run on the
model's own text decoder with explicit positions.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgevlm_ros.edge.architectures.colours import normalised
from edgevlm_ros.transfer.types import Image


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """One view as the vision tower takes it.

    inputs: arguments of the model's get_image_features, batch of one view; its colours still uint8, as the camera's.
    placeholder: what stands for the view in the text, with one image token for each visual token. boxes: (n, 4)
    float32, the part of the view that each visual token sees, x0 y0 x1 y1 in 0..1 of its width and height. size:
    (height, width) in pixels seen, all tiles together.
    """

    inputs: dict[str, Tensor]
    placeholder: str
    boxes: NDArray[np.float32]
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One view as the decoder takes it.

    features: (n, D), one row for each visual token. deep: more of the same shape, added to the first decoder layers'
    output at the visual tokens (Qwen3-VL's DeepStack). pixels: where they come from.
    """

    features: Tensor
    deep: tuple[Tensor, ...]
    pixels: Pixels


class Architecture:
    """A family of models; a subclass says what differs. Images are (H, W, 3) uint8 RGB.

    model_types: `model_type` of the configurations it runs. full_precision: modules that quantisation spares.
    resolution: whether a view can be seen with fewer pixels than usual.
    """

    model_types: ClassVar[tuple[str, ...]]
    full_precision: ClassVar[tuple[str, ...]]
    resolution: bool = False

    def __init__(self, model: Any, processor: Any) -> None:
        self.model = model
        self.processor = processor

    @staticmethod
    def load_processor(name: str, revision: str = "main") -> Any:
        """The processor of a folder or hub id, with or without torchvision. revision: of a hub id."""
        raise NotImplementedError

    @property
    def decoder(self) -> Any:
        """The text decoder, whose forward takes inputs_embeds, position_ids and past_key_values."""
        return self.model.model.language_model

    @property
    def image_token(self) -> str:
        """What a chat template writes where an image stands."""
        return str(self.processor.image_token)

    @property
    def image_token_id(self) -> int:
        return int(self.model.config.image_token_id)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of the finest regular grid of visual tokens over a width x height image."""
        raise NotImplementedError

    def pixels(self, image: Image, share: float = 1.0) -> Pixels:
        """Prepares a view. share: most pixels that it may take, over those of the processor's own choice."""
        raise NotImplementedError

    def shown(self, images: Any, **options: Any) -> dict[str, Any]:
        """What the processor makes of images, up to the arithmetic on their colours: `moved` does that."""
        make = self.processor.image_processor
        as_it_is: dict[str, Any] = {"do_rescale": False, "do_normalize": False, "input_data_format": "channels_last"}
        made = dict(make(images=images, return_tensors="pt", **as_it_is, **options))
        return made | {"pixel_values": made["pixel_values"].to(torch.uint8)}

    def see(self, pixels: Pixels) -> Sight:
        """Runs the vision tower and the projector. pixels.inputs may be on any device."""
        output = self.model.model.get_image_features(**self.moved(pixels), return_dict=True)
        return Sight(torch.cat(list(output.pooler_output)), (), pixels)

    def moved(self, pixels: Pixels) -> dict[str, Tensor]:
        """The inputs as the model takes them, on its device, in the order of its work; nobody waits for a copy."""
        device = self.model.device
        if device.type == "cuda":
            # only from pinned memory does a GPU copy by itself; torch keeps that until the copy is done
            pinned = {name: value if value.is_cuda else value.pin_memory() for name, value in pixels.inputs.items()}
            inputs = {name: value.to(device, non_blocking=True) for name, value in pinned.items()}
        else:
            inputs = {name: value.to(device) for name, value in pixels.inputs.items()}
        return inputs | {"pixel_values": normalised(inputs["pixel_values"], self.processor.image_processor)}

    def wait(self) -> None:
        """Until a GPU has done its work, so that times are those of the work."""
        if self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)

    def positions(self, ids: Tensor, sights: tuple[Sight, ...]) -> Tensor:
        """Positions of a prompt, (1, L) or (3, 1, L), from its ids (1, L); one more than their maximum comes next."""
        return torch.arange(ids.shape[1], device=ids.device)[None]

    def decoder_inputs(self, deep: tuple[Tensor, ...], visual: Tensor) -> dict[str, Any]:
        """More arguments of the decoder's forward. visual: (1, n) bool, which of its tokens are visual ones."""
        return {}


def cells(rows: int, cols: int) -> NDArray[np.float32]:
    """(rows * cols, 4) boxes of a grid's cells in reading order, x0 y0 x1 y1 in 0..1."""
    y, x = np.divmod(np.arange(rows * cols), cols)
    return np.stack([x / cols, y / rows, (x + 1) / cols, (y + 1) / rows], axis=1).astype(np.float32)

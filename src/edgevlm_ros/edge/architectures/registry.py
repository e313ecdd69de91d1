# SPDX-License-Identifier: Apache-2.0
"""Which class runs which family of models."""

from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.architectures.idefics3 import Idefics3
from edgevlm_ros.edge.architectures.llava import Llava
from edgevlm_ros.edge.architectures.llava_onevision import LlavaOnevision
from edgevlm_ros.edge.architectures.qwen2_5_vl import Qwen25VL
from edgevlm_ros.edge.architectures.qwen3_vl import Qwen3VL

ARCHITECTURES: tuple[type[Architecture], ...] = (Qwen25VL, Qwen3VL, Idefics3, Llava, LlavaOnevision)


def architecture_of(model_type: str) -> type[Architecture] | None:
    """By `model_type` of a configuration; None if nothing here runs it."""
    return next((family for family in ARCHITECTURES if model_type in family.model_types), None)


def known() -> str:
    """The families, for an error message."""
    return ", ".join(sorted(name for family in ARCHITECTURES for name in family.model_types))

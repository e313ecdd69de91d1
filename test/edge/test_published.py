# SPDX-License-Identifier: Apache-2.0
"""The published sizes that memory is planned with."""

from __future__ import annotations

import pytest

from edgevlm_ros.edge.model_shape import shape_of_model
from edgevlm_ros.edge.published import PUBLISHED

# as the hub shows them beside the weights
COUNTS = {
    "Qwen/Qwen2.5-VL-3B-Instruct": 3_754_622_976,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8_292_166_656,
    "Qwen/Qwen3-VL-2B-Instruct": 2_127_532_032,
    "Qwen/Qwen3-VL-4B-Instruct": 4_437_815_808,
    "HuggingFaceTB/SmolVLM-256M-Instruct": 256_484_928,
    "HuggingFaceTB/SmolVLM2-256M-Video-Instruct": 256_484_928,
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": 507_482_304,
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": 2_246_784_880,
    # its model.safetensors has 1 787 445 680 bytes in float16, of which 94 576 are the list of its tensors
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": 893_675_552,
}
ROUNDED = {"HuggingFaceM4/Idefics3-8B-Llama3": 8.46}


@pytest.mark.parametrize("model", PUBLISHED)
def test_a_model_has_as_many_weights_as_the_hub_shows(model: str) -> None:
    parameters = shape_of_model(model).parameters
    assert parameters == COUNTS[model] if model in COUNTS else parameters / 1e9 == pytest.approx(ROUNDED[model], 0.002)

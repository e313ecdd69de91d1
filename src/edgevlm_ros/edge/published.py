# SPDX-License-Identifier: Apache-2.0
"""The sizes of published models, so that what one takes of a robot's memory is known before it is downloaded.

Taken from the models' `config.json` on the hub, as far as it says how many weights there are and how they lie; the
rest are transformers' defaults. The counts of weights that the hub shows are held against them in the tests.
"""

from __future__ import annotations

from typing import Any

_QWEN_EYES = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
_QWEN3_EYES = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_heads": 16,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [5, 11, 17],
}
_SIGLIP_BASE = {
    "image_size": 512,
    "patch_size": 16,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
_SIGLIP_SO400M = {
    "patch_size": 14,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
}
_SMOLLM2_135M = {
    "model_type": "llama",
    "vocab_size": 49280,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
}


def _qwen2_5(text: dict[str, Any], tied: bool) -> dict[str, Any]:
    common = {
        "max_position_embeddings": 128000,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }
    return {
        "model_type": "qwen2_5_vl",
        "text_config": {**common, **text},
        "vision_config": {**_QWEN_EYES, "out_hidden_size": text["hidden_size"]},
        "tie_word_embeddings": tied,
    }


def _qwen3(text: dict[str, Any]) -> dict[str, Any]:
    common = {
        "vocab_size": 151936,
        "head_dim": 128,
        "num_key_value_heads": 8,
        "max_position_embeddings": 262144,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    }
    return {
        "model_type": "qwen3_vl",
        "text_config": {**common, **text},
        "vision_config": {**_QWEN3_EYES, "out_hidden_size": text["hidden_size"]},
        "tie_word_embeddings": True,
    }


def _idefics(kind: str, text: dict[str, Any], eyes: dict[str, Any], scale_factor: int) -> dict[str, Any]:
    return {
        "model_type": kind,
        "text_config": text,
        "vision_config": eyes,
        "scale_factor": scale_factor,
        "tie_word_embeddings": False,
    }


PUBLISHED: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": _qwen2_5(
        {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
        },
        tied=True,
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": _qwen2_5(
        {
            "vocab_size": 152064,
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
        },
        tied=False,
    ),
    "Qwen/Qwen3-VL-2B-Instruct": _qwen3(
        {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16}
    ),
    "Qwen/Qwen3-VL-4B-Instruct": _qwen3(
        {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32}
    ),
    "HuggingFaceTB/SmolVLM-256M-Instruct": _idefics("idefics3", _SMOLLM2_135M, _SIGLIP_BASE, 4),
    "HuggingFaceTB/SmolVLM2-256M-Video-Instruct": _idefics("smolvlm", _SMOLLM2_135M, _SIGLIP_BASE, 4),
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": _idefics(
        "smolvlm",
        {
            **_SMOLLM2_135M,
            "hidden_size": 960,
            "intermediate_size": 2560,
            "num_hidden_layers": 32,
            "num_attention_heads": 15,
            "num_key_value_heads": 5,
        },
        _SIGLIP_BASE,
        4,
    ),
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": _idefics(
        "smolvlm",
        {
            **_SMOLLM2_135M,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 24,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
        },
        {**_SIGLIP_SO400M, "image_size": 384},
        3,
    ),
    "HuggingFaceM4/Idefics3-8B-Llama3": _idefics(
        "idefics3",
        {
            "model_type": "llama",
            "vocab_size": 128259,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "max_position_embeddings": 131072,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        },
        {**_SIGLIP_SO400M, "image_size": 364},
        2,
    ),
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": {
        "model_type": "llava_onevision",
        "text_config": {
            "model_type": "qwen2",
            "vocab_size": 152000,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "tie_word_embeddings": True,
        },
        "vision_config": {
            **_SIGLIP_SO400M,
            "model_type": "siglip_vision_model",
            "image_size": 384,
            "num_hidden_layers": 26,
            "vision_use_head": False,
        },
        "tie_word_embeddings": True,
    },
}
"""By hub id, for transformers' AutoConfig.for_model."""

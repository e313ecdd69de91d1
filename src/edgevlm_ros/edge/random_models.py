# SPDX-License-Identifier: Apache-2.0
"""Models with random weights, built in memory from the families' own configurations: real code, no knowledge.

Tiny ones for tests, in which what is seen and what was said decide the next token, and ones of published sizes for
the benchmark: the time that a model takes does not depend on its weights. A token is a byte or a control token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    Idefics3Config,
    Idefics3Processor,
    LlamaConfig,
    LlavaConfig,
    LlavaOnevisionConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen3VLConfig,
    SmolVLMConfig,
)
from transformers.initialization import no_init_weights
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from edgevlm_ros.edge.architectures.llava_onevision import StillLlavaOnevisionProcessor
from edgevlm_ros.edge.architectures.qwen2_5_vl import StillQwen2_5_VLProcessor
from edgevlm_ros.edge.architectures.qwen3_vl import StillQwen3VLProcessor
from edgevlm_ros.edge.published import PUBLISHED

# Weights of the tiny models over the usual start. With the decoder's attention so much stronger, eight histories of one
# sentence each give eight different answers of four tokens (seed 0, all families); with 3 all over, one to eight.
_TINY_SCALE = 3.0
_TINY_ATTENTION_SCALE = 10.0
_TINY_QUERY_KEY_NORM = 2.0
# A prime, so that no two rows of a matrix filled with repetitions of it are the same.
_NOISE_LENGTH = 1_048_583

_QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}{% if p.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ p.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_IDEFICS_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<end_of_utterance>",
    "<fake_token_around_image>",
    "<image>",
    "<global-img>",
    *(f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)),
)
_IDEFICS_TEMPLATE = (
    "<|im_start|>{% for m in messages %}{{ m.role | capitalize }}:"
    "{% if m.content is string %} {{ m.content }}{% else %}{% if m.content[0].type != 'image' %} {% endif %}"
    "{% for p in m.content %}{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}{% endif %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
_ONEVISION_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
_ONEVISION_TEMPLATE = _QWEN_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>\n")
_LLAVA_SPECIAL = ("<s>", "</s>", "<pad>", "<image>")
_LLAVA_TEMPLATE = (
    "{% for m in messages %}{{ m.role | upper }}: {% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}{% if p.type == 'image' %}<image>\n{% else %}{{ p.text }}{% endif %}{% endfor %}"
    "{% endif %} {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


@dataclass(frozen=True, slots=True)
class _Design:
    """tiny: filled so that what is seen decides what is said, which takes too long for billions of weights."""

    config: Any
    processor: Any
    tiny: bool


def build(size: str, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """The model and the processor of one of SIZES, on the CPU."""
    design = _DESIGNS[size]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _scaled(design.config, dtype) if design.tiny else _filled(design.config, dtype)
    tokenizer = design.processor.tokenizer
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval(), design.processor


def save(size: str, folder: Path, ends: bool = True, dtype: torch.dtype = torch.float32) -> Path:
    """Saves the model of one of SIZES as a folder that the edge node loads, and returns it.

    ends: whether it may end an answer; else all its answers have as many tokens as they may have.
    """
    model, processor = build(size, dtype=dtype)
    if not ends:
        head = model.get_output_embeddings().weight
        with torch.no_grad():
            head[model.generation_config.eos_token_id] = 0.0  # the best of all the other tokens is above it
    model.save_pretrained(folder)
    # part by part, as the published ones are: the processor's class may be ours
    processor.tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    return folder


def parameters(size: str) -> int:
    """How many numbers one of SIZES holds, found without the memory for them."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(_DESIGNS[size]().config)
    return sum(parameter.numel() for parameter in model.parameters())


def _scaled(config: Any, dtype: torch.dtype) -> Any:
    """So that what is seen and the history decide what is said."""
    model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                parameter.fill_(_TINY_QUERY_KEY_NORM)
            elif parameter.ndim > 1:
                text = ".self_attn." in name and "vision" not in name
                parameter.mul_(_TINY_ATTENTION_SCALE if text else _TINY_SCALE)
                if config.model_type == "llava_onevision" and name.endswith("projector.linear_2.weight"):
                    parameter.mul_(2.0)  # what is seen is spread over a third more tokens than elsewhere
    return model


def _filled(config: Any, dtype: torch.dtype) -> Any:
    """Fast: the same noise over and over, since drawing billions of numbers takes minutes."""
    with no_init_weights():
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    model.tie_weights()
    noise = torch.randn(_NOISE_LENGTH).mul_(0.02).to(dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                flat = parameter.view(-1)
                whole = flat.numel() // len(noise) * len(noise)
                flat[:whole].view(-1, len(noise)).copy_(noise)
                flat[whole:].copy_(noise[: flat.numel() - whole])
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return model


def _tokenizer(
    special: Sequence[str], end: str, pad: str, template: str, start: str | None = None, vocabulary: int = 0
) -> Any:
    """A byte-level tokenizer without merges; what is missing of the vocabulary are tokens that no text encodes to."""
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *special]
    words += [f"<unused_{index}>" for index in range(vocabulary - len(words))]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    if start is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=start, eos_token=end, pad_token=pad)
    fast.chat_template = template
    return fast


def _text_ids(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _qwen_tokenizer(vocabulary: int = 0) -> Any:
    return _tokenizer(_QWEN_SPECIAL, "<|im_end|>", "<|endoftext|>", _QWEN_TEMPLATE, vocabulary=vocabulary)


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {name: int(tokenizer.convert_tokens_to_ids(token)) for name, token in names.items()}


_TINY_TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
_TINY_MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
_TINY_QWEN_EYES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "out_hidden_size": 64,
    "patch_size": 8,
    "spatial_merge_size": 2,
}
_TINY_QWEN_IMAGES: dict[str, Any] = {
    "patch_size": 8,
    "merge_size": 2,
    "size": {"shortest_edge": 256, "longest_edge": 8960},
}


def _tiny_qwen2_5_vl() -> _Design:
    tokenizer = _qwen_tokenizer()
    config = Qwen2_5_VLConfig(
        text_config={**_TINY_TEXT, **_text_ids(tokenizer), "rope_parameters": _TINY_MROPE},
        vision_config={
            "depth": 2,
            **_TINY_QWEN_EYES,
            "temporal_patch_size": 1,
            "window_size": 64,
            "fullatt_block_indexes": [0, 1],
        },
        **_qwen_ids(tokenizer),
    )
    images = Qwen2VLImageProcessorPil(temporal_patch_size=1, **_TINY_QWEN_IMAGES)
    return _Design(config, StillQwen2_5_VLProcessor(images, tokenizer, chat_template=_QWEN_TEMPLATE), tiny=True)


def _published_qwen(hub_id: str, config_class: Any, processor_class: Any) -> _Design:
    """With the image sizes that the published processors take."""
    published = PUBLISHED[hub_id]
    tokenizer = _qwen_tokenizer(vocabulary=published["text_config"]["vocab_size"])
    patch = published["vision_config"]["patch_size"]
    config = config_class(
        text_config={**published["text_config"], **_text_ids(tokenizer)},
        vision_config=published["vision_config"],
        tie_word_embeddings=published["tie_word_embeddings"],
        **_qwen_ids(tokenizer),
    )
    images = Qwen2VLImageProcessorPil(
        patch_size=patch,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": (4 * patch) ** 2, "longest_edge": 16384 * (2 * patch) ** 2},
    )
    return _Design(config, processor_class(images, tokenizer, chat_template=_QWEN_TEMPLATE), tiny=False)


def _qwen2_5_vl(size: str) -> _Design:
    return _published_qwen(f"Qwen/Qwen2.5-VL-{size}-Instruct", Qwen2_5_VLConfig, StillQwen2_5_VLProcessor)


def _qwen3_vl(size: str) -> _Design:
    return _published_qwen(f"Qwen/Qwen3-VL-{size}-Instruct", Qwen3VLConfig, StillQwen3VLProcessor)


def _tiny_qwen3_vl() -> _Design:
    tokenizer = _qwen_tokenizer()
    config = Qwen3VLConfig(
        text_config={
            **_TINY_TEXT,
            **_text_ids(tokenizer),
            "head_dim": 16,
            "rope_parameters": {**_TINY_MROPE, "mrope_interleaved": True},
        },
        vision_config={
            "depth": 3,
            **_TINY_QWEN_EYES,
            "temporal_patch_size": 2,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        **_qwen_ids(tokenizer),
    )
    images = Qwen2VLImageProcessorPil(temporal_patch_size=2, **_TINY_QWEN_IMAGES)
    return _Design(config, StillQwen3VLProcessor(images, tokenizer, chat_template=_QWEN_TEMPLATE), tiny=True)


def _idefics(
    config_class: Any, images: Any, text: dict[str, Any], vision: dict[str, Any], scale_factor: int, tiny: bool
) -> _Design:
    """SmolVLM is Idefics3 with another processor, whose still half makes the same prompt."""
    tokenizer = _tokenizer(
        _IDEFICS_SPECIAL,
        "<end_of_utterance>",
        "<|endoftext|>",
        _IDEFICS_TEMPLATE,
        vocabulary=text.get("vocab_size", 0),
    )
    config = config_class(
        text_config={"model_type": "llama", **text, **_text_ids(tokenizer)},
        vision_config=vision,
        scale_factor=scale_factor,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    tokens = (vision["image_size"] // vision["patch_size"] // scale_factor) ** 2
    processor = Idefics3Processor(images, tokenizer, image_seq_len=tokens, chat_template=_IDEFICS_TEMPLATE)
    return _Design(config, processor, tiny)


_TINY_TILE = {
    "image_size": 64,
    "patch_size": 8,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def _tiny_smolvlm() -> _Design:
    images = SmolVLMImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 64}, do_image_splitting=False
    )
    return _idefics(SmolVLMConfig, images, _TINY_TEXT, _TINY_TILE, scale_factor=2, tiny=True)


def _tiny_idefics3() -> _Design:
    images = Idefics3ImageProcessorPil(size={"longest_edge": 128}, max_image_size={"longest_edge": 64})
    return _idefics(Idefics3Config, images, _TINY_TEXT, _TINY_TILE, scale_factor=2, tiny=True)


def _published_idefics(hub_id: str, config_class: Any, tiles: bool = False) -> _Design:
    """One tile, as a robot wants it. With tiles the mosaic that it is published with."""
    published = PUBLISHED[hub_id]
    tile = published["vision_config"]["image_size"]
    images = SmolVLMImageProcessorPil(
        size={"longest_edge": 4 * tile},
        max_image_size={"longest_edge": tile},
        do_resize=tiles,
        do_image_splitting=tiles,
    )
    text, vision = published["text_config"], published["vision_config"]
    return _idefics(config_class, images, text, vision, published["scale_factor"], tiny=False)


def _smolvlm(name: str, tiles: bool = False) -> _Design:
    return _published_idefics(f"HuggingFaceTB/{name}-Instruct", SmolVLMConfig, tiles)


def _smolvlm_68m() -> _Design:
    """Between the tiny and the published ones: a frame is one tile of 256 x 256 pixels, 16 tokens.

    Eyes as ViT-S/16 has them, and 12 of the 30 layers of SmolVLM-256M's decoder.
    """
    images = SmolVLMImageProcessorPil(
        size={"longest_edge": 256}, max_image_size={"longest_edge": 256}, do_resize=False, do_image_splitting=False
    )
    text = {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 12,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
    }
    vision = {
        "image_size": 256,
        "patch_size": 16,
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
    }
    return _idefics(SmolVLMConfig, images, text, vision, scale_factor=4, tiny=True)


def _tiny_llava() -> _Design:
    """Eyes of CLIP, as LLaVA-1.5 has them: the middle of the image, and the class token left out."""
    tokenizer = _tokenizer(_LLAVA_SPECIAL, "</s>", "<pad>", _LLAVA_TEMPLATE, start="<s>")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            image_size=64,
            patch_size=8,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=2,
            projection_dim=32,
        ),
        text_config=LlamaConfig(**_TINY_TEXT, **_text_ids(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=64,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=_LLAVA_TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    return _Design(config, processor, tiny=True)


def _onevision(text: dict[str, Any], eyes: dict[str, Any], tiny: bool) -> _Design:
    """Eyes of SigLIP, and a decoder as Qwen2."""
    tokenizer = _tokenizer(
        _ONEVISION_SPECIAL, "<|im_end|>", "<|endoftext|>", _ONEVISION_TEMPLATE, vocabulary=text.get("vocab_size", 0)
    )
    side, patch = eyes["image_size"], eyes["patch_size"]
    pinpoints = [[rows * side, cols * side] for rows in range(1, 7) for cols in range(1, 7)]
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **text, **_text_ids(tokenizer)},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **eyes},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pinpoints,
        tie_word_embeddings=text.get("tie_word_embeddings", False),
    )
    images = LlavaOnevisionImageProcessorPil(
        size={"height": side, "width": side}, image_grid_pinpoints=pinpoints, do_pad=True
    )
    processor = StillLlavaOnevisionProcessor(
        images,
        tokenizer,
        chat_template=_ONEVISION_TEMPLATE,
        num_image_tokens=(side // patch) ** 2,
        vision_feature_select_strategy="full",
    )
    return _Design(config, processor, tiny)


def _tiny_onevision() -> _Design:
    return _onevision(_TINY_TEXT, _TINY_TILE, tiny=True)


def _llava_onevision() -> _Design:
    published = PUBLISHED["llava-hf/llava-onevision-qwen2-0.5b-ov-hf"]
    return _onevision(published["text_config"], published["vision_config"], tiny=False)


_DESIGNS: dict[str, Callable[[], _Design]] = {
    "tiny-qwen2.5-vl": _tiny_qwen2_5_vl,
    "tiny-qwen3-vl": _tiny_qwen3_vl,
    "tiny-smolvlm": _tiny_smolvlm,
    "tiny-idefics3": _tiny_idefics3,
    "tiny-llava": _tiny_llava,
    "tiny-llava-onevision": _tiny_onevision,
    "smolvlm-68m": _smolvlm_68m,
    "smolvlm-256m": partial(_smolvlm, "SmolVLM-256M"),
    "smolvlm-256m-tiles": partial(_smolvlm, "SmolVLM-256M", tiles=True),
    "smolvlm2-500m": partial(_smolvlm, "SmolVLM2-500M-Video"),
    "smolvlm2-2.2b": partial(_smolvlm, "SmolVLM2-2.2B"),
    "idefics3-8b": partial(_published_idefics, "HuggingFaceM4/Idefics3-8B-Llama3", Idefics3Config),
    "llava-onevision-0.5b": _llava_onevision,
    "qwen2.5-vl-3b": partial(_qwen2_5_vl, "3B"),
    "qwen2.5-vl-7b": partial(_qwen2_5_vl, "7B"),
    "qwen3-vl-2b": partial(_qwen3_vl, "2B"),
    "qwen3-vl-4b": partial(_qwen3_vl, "4B"),
}

SIZES = tuple(_DESIGNS)

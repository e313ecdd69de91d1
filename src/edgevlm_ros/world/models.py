# SPDX-License-Identifier: Apache-2.0
"""The two micro models' architectures, their tokenizer and templates, and the shape of what they say.

Both are stock transformers architectures from their own config classes, small enough to train on a CPU: what loads a
7B checkpoint loads them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import (
    GenerationConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    SiglipVisionConfig,
)

from edgevlm_ros.world import questions as q

PATCH, MERGE = 8, 1
SVLM_WIDTH, SVLM_HEIGHT = 64, 48  # what Qwen2-VL's smart_resize makes of any frame of about 4:3 with these limits
MIN_PIXELS, MAX_PIXELS = 2600, 3400
LVLM_SIZE, LVLM_PATCH = 192, 16
SVLM_GRID = (SVLM_HEIGHT // PATCH // MERGE, SVLM_WIDTH // PATCH // MERGE)  # rows, columns of visual tokens
LVLM_GRID = (LVLM_SIZE // LVLM_PATCH, LVLM_SIZE // LVLM_PATCH)
SVLM_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)  # CLIP's, the default of Qwen2-VL's processor
SVLM_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
PREPROCESSING = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "do_convert_rgb": True,
    "resample": int(Image.Resampling.BICUBIC),
    "rescale_factor": 1 / 255,
}
BOX_STEP = 25  # of 1000: every box edge is one token

ENDOFTEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
SPECIAL = (ENDOFTEXT, IM_START, IM_END, VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD)
# The fixed parts of the LVLM's JSON, one token each: half as many to decode on a CPU.
JSON_PARTS = ('{"answer": "', '", "regions": [{"label": "', '", "bbox_2d": [', "]}]}", '", "regions": []}')

CHAT_TEMPLATE = """\
{%- for message in messages %}{%- if message.role != 'system' %}{{- '<|im_start|>' + message.role + '\n' }}\
{%- if message.content is string %}{{- message.content }}{%- else %}{%- for part in message.content %}\
{%- if part.type in ('image', 'image_url') %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}\
{%- elif part.type == 'text' %}{{- part.text }}{%- endif %}{%- endfor %}{%- endif %}\
{{- '<|im_end|>\n' }}{%- endif %}{%- endfor %}\
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE trained in place on all that is ever said in the hall; any other text falls back to bytes."""
    tokenizer = Tokenizer(models.BPE())
    # Almost Qwen's split, but numbers stay whole, with the space before them: a box edge is one token.
    pattern = r" ?\p{N}+|[^\r\n\p{L}\p{N}]?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    text = ["user\n", "assistant\n", "person", "cart", "machine", *q.ALL]
    text += [*q.ABSENT.values(), *(value for values in q.VALUES.values() for value in values)]
    text += [f", {value}" for values in q.VALUES.values() for value in values]
    text += [f"{n}{sep}" for n in range(0, 1001, BOX_STEP) for sep in ("", f", {n}")]
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        min_frequency=1,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text * 4, trainer)
    tokenizer.add_tokens([AddedToken(part, normalized=False) for part in JSON_PARTS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=IM_END,
        pad_token=ENDOFTEXT,
        additional_special_tokens=[IM_START, VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


def make_svlm(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLForConditionalGeneration:
    ids = _ids(tokenizer)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 160,
            "intermediate_size": 480,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 8, 8]},
            "bos_token_id": ids[ENDOFTEXT],
            "eos_token_id": ids[IM_END],
            "pad_token_id": ids[ENDOFTEXT],
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 4,
            "hidden_size": 128,
            "num_heads": 4,
            "intermediate_size": 384,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 1,
            "out_hidden_size": 160,
            "fullatt_block_indexes": [0, 1, 2, 3],
        },
        image_token_id=ids[IMAGE_PAD],
        video_token_id=ids[VIDEO_PAD],
        vision_start_token_id=ids[VISION_START],
        vision_end_token_id=ids[VISION_END],
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def make_lvlm(tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    ids = _ids(tokenizer)
    vision = SiglipVisionConfig(
        hidden_size=192,
        intermediate_size=576,
        num_hidden_layers=5,
        num_attention_heads=6,
        image_size=LVLM_SIZE,
        patch_size=LVLM_PATCH,
        vision_use_head=False,
    )
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=576,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=ids[ENDOFTEXT],
        eos_token_id=ids[IM_END],
        pad_token_id=ids[ENDOFTEXT],
        tie_word_embeddings=True,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=ids[IMAGE_PAD],
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=LVLM_GRID[0] * LVLM_GRID[1],
        tie_word_embeddings=True,
    )
    return LlavaForConditionalGeneration(config)


def lvlm_reply(question: str, seen: q.Observation) -> str:
    """What the LVLM is to say: the answer, and the box of what it speaks about."""
    answer = q.answer(question, seen)
    spoken_of = q.region_of(question, seen)
    regions = [] if spoken_of is None else [{"label": spoken_of[0], "bbox_2d": quantised(spoken_of[1])}]
    return json.dumps({"answer": answer, "regions": regions})


def quantised(box: q.Box) -> list[int]:
    """Fractions to 0..1000 in steps of BOX_STEP."""
    return [min(1000, max(0, BOX_STEP * round(1000 * edge / BOX_STEP))) for edge in box]


def svlm_image(frame: Image.Image, box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """(48, 64, 3) uint8: the frame, or its part inside the pixel box, as Qwen2-VL's PIL processor resizes it."""
    size = (SVLM_WIDTH, SVLM_HEIGHT)
    return np.asarray(frame.resize(size, Image.Resampling.BICUBIC, box=box))


def lvlm_image(frame: Image.Image, box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """(192, 192, 3) uint8, as SigLIP's PIL processor resizes it."""
    return np.asarray(frame.resize((LVLM_SIZE, LVLM_SIZE), Image.Resampling.BICUBIC, box=box))


def patchify(images: np.ndarray) -> torch.Tensor:
    """(B, 48, 64, 3) uint8 or 0..255 float -> (B, 48, 192) float32: normalised patches in Qwen2-VL's merge order."""
    normal = (np.asarray(images, np.float32) / 255.0 - SVLM_MEAN) / SVLM_STD
    batch, height, width, _ = normal.shape
    rows, columns = height // PATCH // MERGE, width // PATCH // MERGE
    cut = normal.reshape(batch, rows, MERGE, PATCH, columns, MERGE, PATCH, 3)
    cut = cut.transpose(0, 1, 4, 2, 5, 7, 3, 6)  # B, rows, columns, merge y, merge x, RGB, patch y, patch x
    return torch.from_numpy(np.ascontiguousarray(cut.reshape(batch, rows * columns * MERGE**2, 3 * PATCH**2)))


def siglip_pixels(images: np.ndarray) -> torch.Tensor:
    """(B, 192, 192, 3) uint8 or 0..255 float -> (B, 3, 192, 192) float32 in -1..1."""
    return torch.from_numpy(np.ascontiguousarray((np.asarray(images, np.float32) / 127.5 - 1).transpose(0, 3, 1, 2)))


def svlm_see(model: Qwen2_5_VLForConditionalGeneration, patches: torch.Tensor) -> torch.Tensor:
    """(B, 48, 192) patches of equally sized images -> (B, 48, D) visual tokens.

    The same arithmetic as the model's own vision tower, which attends image by image in a Python loop: three times
    faster for a training batch. A test holds the two equal.
    """
    visual = model.model.visual
    batch, length, _ = patches.shape
    grid = torch.tensor([[1, SVLM_HEIGHT // PATCH, SVLM_WIDTH // PATCH]])
    position_ids = _merge_order_positions(grid)
    cos, sin = visual.rotary_pos_emb(patches, position_ids)
    cos, sin = cos[None, None], sin[None, None]
    hidden = visual.patch_embed(patches.reshape(batch * length, -1)).view(batch, length, -1)
    for block in visual.blocks:
        attention = block.attn
        qkv = attention.qkv(block.norm1(hidden)).view(batch, length, 3, attention.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        query, key = query * cos + _rotate(query) * sin, key * cos + _rotate(key) * sin
        mixed = functional.scaled_dot_product_attention(query, key, value)
        hidden = hidden + attention.proj(mixed.transpose(1, 2).reshape(batch, length, -1))
        hidden = hidden + block.mlp(block.norm2(hidden))
    return torch.as_tensor(visual.merger(hidden).view(batch, length // MERGE**2, -1))


def lvlm_see(model: LlavaForConditionalGeneration, pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, 192, 192) -> (B, 144, D) visual tokens."""
    features = model.model.get_image_features(
        pixels,
        vision_feature_layer=model.config.vision_feature_layer,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
    )
    return torch.stack(list(features.pooler_output))


def save_svlm(model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    _save(model, tokenizer, folder)
    _write(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
            **PREPROCESSING,
            "image_mean": [float(v) for v in SVLM_MEAN],
            "image_std": [float(v) for v in SVLM_STD],
            "patch_size": PATCH,
            "merge_size": MERGE,
            "temporal_patch_size": 1,
            "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        },
    )


def save_lvlm(model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    _save(model, tokenizer, folder)
    _write(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "SiglipImageProcessor",
            "processor_class": "LlavaProcessor",
            **PREPROCESSING,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "size": {"height": LVLM_SIZE, "width": LVLM_SIZE},
        },
    )
    _write(
        folder / "processor_config.json",
        {
            "processor_class": "LlavaProcessor",
            "patch_size": LVLM_PATCH,
            "num_additional_image_tokens": 0,
            "vision_feature_select_strategy": "full",
            "image_token": IMAGE_PAD,
        },
    )


def _save(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ids = _ids(tokenizer)
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=48,
        bos_token_id=ids[ENDOFTEXT],
        eos_token_id=[ids[IM_END], ids[ENDOFTEXT]],
        pad_token_id=ids[ENDOFTEXT],
    )
    original = {name: parameter.detach().clone() for name, parameter in model.state_dict().items()}
    half = type(model)(model.config).half()
    half.load_state_dict(original)
    half.generation_config = model.generation_config
    half.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes for its owner only


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")


def _ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {token: int(tokenizer.convert_tokens_to_ids(token)) for token in SPECIAL}


def _merge_order_positions(grid: torch.Tensor) -> torch.Tensor:
    """(N, 2) row and column of each patch, in the order in which the processor lays them out."""
    _, height, width = grid[0].tolist()
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    shape = (height // MERGE, MERGE, width // MERGE, MERGE)
    return torch.stack([x.reshape(shape).transpose(1, 2).flatten() for x in (rows, columns)], dim=-1)


def _rotate(x: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)

# SPDX-License-Identifier: Apache-2.0
"""Figures for the model cards: both bundled models, as saved, on frames that no training has seen.

Every question of every held-out frame is scored through `Trainee.right` (what greedy decoding would say); a part is
also asked through transformers' own image processor and `generate()`, which must agree and gives the boxes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from edgevlm_ros.transfer.conversation import worded
from edgevlm_ros.transfer.types import Turn
from edgevlm_ros.world import models
from edgevlm_ros.world import questions as q
from edgevlm_ros.world.dataset import Split
from edgevlm_ros.world.samples import NOW
from edgevlm_ros.world.train import Trainee, modes, rounded, scores

FRAMES_TOLD = 250  # of a split that are asked with histories and crops, where each question takes a pass of its own


class Speaker:
    """A saved model folder, asked as any user of transformers would ask it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        if kind == "svlm":
            self.model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
            self.images: Any = Qwen2VLImageProcessorPil.from_pretrained(folder)
        else:
            self.model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
            self.images = SiglipImageProcessorPil.from_pretrained(folder)
        self.model.eval()

    @torch.no_grad()
    def say(
        self,
        question: str,
        frame: np.ndarray,
        *,
        turns: Sequence[Turn] = (),
        provenance: bool = True,
    ) -> str:
        """The reply to a question about a frame, (H, W, 3) uint8, greedy. turns: stamped before samples.NOW."""
        messages: list[dict[str, Any]] = []
        exchanges, text = worded(turns, question, NOW, provenance)
        for exchange in exchanges:
            messages.append({"role": "user", "content": exchange.asked})
            messages.append({"role": "assistant", "content": exchange.said})
        content = [{"type": "image"}, {"type": "text", "text": text}]
        messages.append({"role": "user", "content": content})
        prompt = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        pixels = self.images([Image.fromarray(frame)], return_tensors="pt")
        image_id = self.model.config.image_token_id
        if self.kind == "svlm":
            counts = [int(grid.prod()) // models.MERGE**2 for grid in pixels["image_grid_thw"]]
        else:
            counts = [models.LVLM_GRID[0] * models.LVLM_GRID[1]]
        pieces = prompt.split(models.IMAGE_PAD)
        for count, piece in zip(counts, pieces[1:], strict=True):
            pieces[0] += models.IMAGE_PAD * count + piece
        inputs = self.tokenizer(pieces[0], return_tensors="pt", add_special_tokens=False, return_token_type_ids=False)
        if self.kind == "svlm":
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == image_id).int()
        out = self.model.generate(**inputs, **pixels, do_sample=False, max_new_tokens=40)
        return str(self.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def load_trained(kind: str, folder: Path) -> Trainee:
    """The saved weights in the harness that scores them."""
    trainee = Trainee(kind)
    trainee.model.load_state_dict(Speaker(kind, folder).model.state_dict())
    return trainee.eval()


def chance(split: Split) -> dict[str, float]:
    """Share of the commonest answer, per question."""
    result = {}
    for question in q.ALL:
        answers = Counter(q.answer(question, seen) for seen in split.seen if q.askable(question, seen))
        result[question] = answers.most_common(1)[0][1] / max(1, answers.total())
    result["panel"] = float(np.mean([result[question] for question in q.PANEL]))
    return result | {"tasks": float(np.mean([result[name] for name in (*q.TASKS[:3], "panel")]))}


def evaluate(kind: str, folder: Path, split: Split, *, spoken: int = 100) -> dict[str, Any]:
    """All figures of one model on a split. spoken: on how many frames generate() itself is asked."""
    trainee = load_trained(kind, folder)
    report: dict[str, Any] = {"frames": len(split), "chance": rounded(chance(split)), "exact_match": {}}
    for mode in tqdm(modes(kind), desc=f"scoring the {kind}", unit="way of asking"):
        frames = len(split) if mode == "plain" else min(FRAMES_TOLD, len(split))
        report["exact_match"][mode] = rounded(scores(trainee, split, mode, frames))
    report["frames_with_history_or_crop"] = min(FRAMES_TOLD, len(split))
    report["generate"] = _spoken(Speaker(kind, folder), trainee, split, spoken)
    return report


def _spoken(speaker: Speaker, trainee: Trainee, split: Split, frames: int) -> dict[str, float]:
    """Exact match of generate() on the tasks' questions, and for the LVLM the boxes' overlap with the truth."""
    right, overlaps, valid = [], [], 0
    for index in tqdm(range(min(frames, len(split))), desc=f"asking the {speaker.kind}", unit="frame"):
        seen = split.seen[index]
        for question in q.TASKS:
            if not q.askable(question, seen):
                continue
            said = speaker.say(question, split.frames[index])
            if speaker.kind == "lvlm":
                try:
                    reply = json.loads(said)
                except json.JSONDecodeError:
                    right.append(False)
                    continue
                valid += 1
                said = reply["answer"]
                spoken_of = q.region_of(question, seen)
                if spoken_of is not None:
                    regions = reply["regions"]
                    overlaps.append(overlap(regions[0]["bbox_2d"], spoken_of[1]) if regions else 0.0)
            right.append(said == q.answer(question, seen))
    report = {"frames": float(min(frames, len(split))), "exact_match": sum(right) / len(right)}
    if speaker.kind == "lvlm":
        report |= {
            "valid_json": valid / len(right),
            "mean_iou": float(np.mean(overlaps)),
            "iou_over_half": float(np.mean(np.array(overlaps) > 0.5)),
        }
    return rounded(report)


def overlap(bbox: list[int], box: q.Box) -> float:
    """Intersection over union of a reply's box (0..1000) with a true one (0..1)."""
    a, b = [v / 1000 for v in bbox], box
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.0

# SPDX-License-Identifier: Apache-2.0
"""A folder of a tiny Qwen2.5-VL with random weights, as a user's would be: real code, no knowledge."""

from __future__ import annotations

from pathlib import Path

from edgevlm_ros.edge.random_models import build


def make_tiny_svlm(folder: Path, seed: int = 0) -> Path:
    """Save a random model of about 0.2M parameters."""
    model, processor = build("tiny-qwen2.5-vl", seed)
    model.save_pretrained(folder)
    # part by part, as the published ones are: the processor's class is ours
    processor.tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    return folder

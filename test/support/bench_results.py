# SPDX-License-Identifier: Apache-2.0
"""What the benchmark might have left of one model."""

from __future__ import annotations

from typing import Any


def row(mode: str, history: int, reuse: bool = True, **changes: Any) -> dict[str, Any]:
    return {
        "model": "smolvlm-256m",
        "mode": mode,
        "reuse": reuse,
        "draft": "off",
        "drafted_tokens": 0,
        "draft_accepted": None,
        "history_tokens": history,
        "visual_tokens": 64,
        "ttft_ms": 200.0,
        "prepare_ms": 10.0,
        "vision_ms": 100.0,
        "prefill_ms": 80.0,
        "decode_ms": 50.0,
        "answer_ms": 250.0,
        "generate_ms": 600.0,
        "generate_prepare_ms": 12.0,
        "generate_vision_ms": 100.0,
        "generate_prefill_ms": 420.0,
        "generate_ttft_ms": 530.0,
        "tokens_equal": True,
        **changes,
    }


def result(**changes: Any) -> dict[str, Any]:
    return {
        "model": "smolvlm-256m",
        "parameters": 256_000_000,
        "frame": "640x480",
        "threads": 2,
        "load_s": 3.0,
        "left_out": {},
        "rows": [
            row("none", 0),
            row("none", 1024, ttft_ms=220.0),
            row("none", 1024, reuse=False),
            row("none", 0, draft="accepted", drafted_tokens=7, draft_accepted=1.0, ttft_ms=205.0, answer_ms=205.0),
            row("none", 1024, draft="accepted", drafted_tokens=7, draft_accepted=1.0, ttft_ms=246.0, answer_ms=240.0),
            row("none", 1024, draft="rejected", drafted_tokens=7, draft_accepted=0.0, ttft_ms=230.0, answer_ms=320.0),
            row("none", 64),
            row("prune", 64, prefill_ms=32.0),
            row("crop@0.5", 64, vision_ms=50.0),
        ],
        "stream": {
            "quiet_frames": 50,
            "taking_in_frames": 40,
            "quiet_p95_ms": 100.0,
            "taking_in_p95_ms": 130.0,
            "focus_share": 0.01,
        },
        **changes,
    }

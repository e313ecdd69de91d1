# SPDX-License-Identifier: Apache-2.0
"""Parts of small recordings whose figures can be counted by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

from edgevlm_ros.evaluation.recording import AnswerRecord, ContextRecord
from edgevlm_ros.transfer.types import Question

WHERE = Question("Where is the person?")
SECOND = 10**9
ANSWER = AnswerRecord(
    stamp=0,
    published=SECOND // 10,
    question=WHERE.text,
    text="left",
    confidence=0.9,
    frame_age=0.1,
    inference_time=0.08,
    first_token_time=0.05,
    context_stamp=None,
    context_age=None,
    focus_mode="none",
    model="m",
    truth="left",
)
CONTEXT = ContextRecord(0, SECOND, WHERE.text, "ok", "", "left", 1, 0.9, 1000, "cloud")


def later(second: float, **changes: Any) -> AnswerRecord:
    stamp = int(second * SECOND)
    return dataclasses.replace(ANSWER, stamp=stamp, published=stamp + SECOND // 10, **changes)

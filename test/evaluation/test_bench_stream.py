# SPDX-License-Identifier: Apache-2.0
"""Frames while contexts come in."""

import numpy as np

from edgevlm_ros.evaluation.bench import Bench
from edgevlm_ros.evaluation.bench_process import load
from edgevlm_ros.evaluation.bench_stream import stream


def test_a_stream_has_frames_of_both_kinds() -> None:
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 255, (120, 160, 3), dtype=np.uint8) for _ in range(3)]
    found = stream(Bench(load("tiny-qwen2.5-vl"), "tiny", images[0]).engine, images, 2.0)
    assert found["quiet_frames"] > 0
    assert found["taking_in_frames"] > 0
    assert found["contexts"] > 1
    assert 0.0 < found["focus_share"] < 1.0
    assert found["taking_in_p95_ms"] > 0.0
    assert 0.0 <= found["draft_accepted"] <= 1.0

# SPDX-License-Identifier: Apache-2.0
"""The engine of a load run without node and pipeline, in a process of its own: how fast it is by itself.

It sees what the node would: of the camera's pictures always the one that is newest when the last answer is done, for
how long an answer takes depends on how much the picture has changed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from edgevlm_ros.assets import model_path
from edgevlm_ros.edge.engine import Prompt
from edgevlm_ros.edge.loading import EngineSettings, load_engine
from edgevlm_ros.evaluation.load_camera import pictures

_WARM_UP = 3  # answers


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes {"seconds": [of each answer], "cpu": seconds in all of them} to the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--question", required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--height", type=int, required=True)
    parser.add_argument("--result", type=Path, required=True)
    asked = parser.parse_args(arguments)
    settings = EngineSettings(model_path(asked.model), threads=asked.threads, max_new_tokens=asked.tokens)
    engine = load_engine(settings)
    shown = pictures(asked.width, asked.height)
    taken: list[float] = []
    cpu = 0.0
    began = now = time.monotonic()
    while now - began < asked.seconds or len(taken) <= _WARM_UP:
        picture = shown[
            int((now - began) * asked.rate) % len(shown)
        ].copy()  # the engine knows a picture that it has seen
        engine.complete(Prompt(history=(), images=(picture,), question=asked.question))
        before, now = now, time.monotonic()
        taken.append(now - before)
        cpu = time.process_time() if len(taken) == _WARM_UP else cpu
    asked.result.write_text(json.dumps({"seconds": taken[_WARM_UP:], "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()

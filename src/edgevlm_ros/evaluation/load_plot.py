# SPDX-License-Identifier: Apache-2.0
"""The picture of a load run: memory over time, and how old frames were when their answers came."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from edgevlm_ros.evaluation.load import Samples
from edgevlm_ros.evaluation.plots import FAINT, STYLE

_MEMORY, _PRIVATE, _AGE, _INFERENCE, _LIMIT = "#2563eb", "#94a3b8", "#2563eb", "#94a3b8", "#dc2626"


def draw_load(samples: Samples, warm_up: float, age_limit_ms: float, path: Path) -> None:
    """warm_up: seconds at the beginning that no figure is about."""
    began = samples.uses[0].at
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 4.6), layout="constrained")
        memory, ages = figure.subplots(2, 1, sharex=True)
        at = [use.at - began for use in samples.uses]
        memory.plot(at, [use.memory / 1e6 for use in samples.uses], color=_MEMORY, lw=1.4, label="in main memory")
        memory.plot(at, [use.private / 1e6 for use in samples.uses], color=_PRIVATE, lw=1.4, label="private part")
        memory.set_ylim(bottom=0)
        memory.set_title("memory of the node's process")
        memory.set_ylabel("MB")
        at = [heard.at - began for heard in samples.answers]
        for values, colour, name in (
            ([heard.inference for heard in samples.answers], _INFERENCE, "in the engine"),
            ([heard.stamp_age for heard in samples.answers], _AGE, "from stamp to answer"),
        ):
            ages.plot(at, 1e3 * np.asarray(values), ".", color=colour, ms=3, label=name)
        if np.isfinite(age_limit_ms):
            ages.axhline(age_limit_ms, color=_LIMIT, lw=0.8, ls="--", label="limit")
        ages.set_ylim(bottom=0)
        ages.set_title("age of frames when their answers are heard")
        ages.set_ylabel("ms")
        ages.set_xlabel("seconds of the stream")
        for axes in (memory, ages):
            axes.axvspan(0, warm_up, color="#f1f5f9", zorder=0)
            axes.grid(color=FAINT, lw=0.4)
            axes.legend(loc="lower right", ncols=3)
        figure.savefig(path, dpi=150)
